"""A function of a batch: pickled by cloudpickle, or in a source file of the artifact (``model.py:predict``)."""

import importlib.util
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from clipper_container.flavors._contract import LoadContext, Loaded, NotLoadable


def load(context: LoadContext) -> Loaded:
    """Loads the function; modules beside it in the artifact can be imported."""
    if context.directory is not None:
        sys.path.insert(0, str(context.directory.resolve()))
    file, _, name = context.entry().partition(":")
    path = context.path(file)
    if not name:
        _require_same_python(context)
    function = _from_source(path, name) if name else _from_pickle(path)
    if not callable(function):
        raise TypeError(f"the entry {context.manifest.entry!r} is a {type(function).__name__}, a function was expected")
    return Loaded(function, context.manifest.input_width)


def _require_same_python(context: LoadContext) -> None:
    """A pickled function has bytecode in it, which another Python misreads or crashes on."""
    saved, here = context.manifest.python, platform.python_version()
    if saved is not None and saved.split(".")[:2] != here.split(".")[:2]:
        raise NotLoadable(
            f"This function was pickled by Python {saved}, and Python {here} runs here, which cannot run its bytecode: "
            f"deploy it from Python {'.'.join(here.split('.')[:2])}, or as a source file that defines 'predict' (.py)."
        )


def _from_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return cloudpickle.load(file)


def _from_source(path: Path, name: str) -> Callable[[Any], Any]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is not a Python source file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise ImportError(f"{path.name} has no function {name!r}")
    function: Callable[[Any], Any] = getattr(module, name)
    return function
