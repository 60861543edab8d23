"""Pickling what only exists in the deployer's session: functions and classes of scripts, notebooks and local modules.

cloudpickle takes what is defined in ``__main__`` by value. A module beside the script would be pickled by name, and the
container, which does not have it, would fail to import it; so modules that are not installed go by value as well.
"""

import functools
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import cloudpickle

from clipper.errors import InvalidModel

OURS = frozenset({"clipper", "clipper_container", "clipper_frontends"})
"""Installed wherever a model is served, however they were installed here."""

_registering = threading.Lock()


def dump(model: Any, file: BinaryIO) -> None:
    """Pickle ``model`` so that a container without the deployer's own modules can load it.

    Raises:
        InvalidModel: Something that it refers to cannot be pickled.
    """
    with _local_modules_by_value():
        try:
            cloudpickle.dump(model, file, protocol=5)
        except Exception as error:
            raise InvalidModel(
                f"{_name(model)} cannot be packaged: {type(error).__name__}: {error}. "
                "What it refers to must be picklable: no open files, sockets, locks or loggers' handlers."
            ) from error


def _name(model: Any) -> str:
    name = getattr(model, "__qualname__", None) or type(model).__qualname__
    return f"'{name}'"


@contextmanager
def _local_modules_by_value() -> Iterator[None]:
    with _registering:
        known = cloudpickle.list_registry_pickle_by_value()
        local = [module for module in list(sys.modules.values()) if _is_local(module) and module.__name__ not in known]
        for module in local:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in local:
                cloudpickle.unregister_pickle_by_value(module)


def _is_local(module: Any) -> bool:
    if not isinstance(module, ModuleType) or sys.modules.get(module.__name__) is not module:
        return False
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__" or module.__name__.partition(".")[0] in OURS:
        return False
    return not any(folder in Path(file).parents for folder in _installed_folders())


@functools.cache
def _installed_folders() -> frozenset[Path]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {Path(sysconfig.get_path(name)) for name in names}
    return frozenset(folders | {folder.resolve() for folder in folders})


def versions_of(roots: set[str]) -> dict[str, str]:
    """The installed distributions that provide these top-level packages, with their versions."""
    provided_by = metadata.packages_distributions()
    wanted = {"numpy", "cloudpickle"} | (roots - OURS)
    names = {name for root in wanted for name in provided_by.get(root, ())}
    return {name: metadata.version(name) for name in sorted(names)}
