"""Flavors: how a saved model becomes a function of a batch. One module each; its name is the flavor's.

A flavor module has one function, ``load(context: LoadContext) -> Loaded``. It may import its framework, runs in the
thread that later calls ``predict``, and raises whatever explains best why the model cannot be loaded. Nothing else has
to be registered: a new flavor is a new file here.
"""

import importlib
import pkgutil

from clipper_container.flavors._contract import BatchFailed, Flavor, LoadContext, Loaded, NotLoadable

__all__ = ["BatchFailed", "Flavor", "LoadContext", "Loaded", "NotLoadable", "find_flavor", "flavor_names"]


def flavor_names() -> list[str]:
    """Every flavor that this runtime has."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def find_flavor(name: str) -> Flavor:
    """The ``load`` of a flavor; its module is imported now.

    Raises:
        ValueError: There is no such flavor.
        ImportError: The flavor's framework is not installed.
    """
    names = flavor_names()
    if name not in names:
        raise ValueError(f"There is no flavor {name!r}; this runtime has {', '.join(names)}.")
    load: Flavor = importlib.import_module(f"{__name__}.{name}").load
    return load
