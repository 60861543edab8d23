"""A flavor's framework: imported when it is needed, and missed in one sentence."""

import importlib
import platform
from typing import Any

from clipper_container.flavors._contract import LoadContext, NotLoadable

NUMBERS = ("doubles", "floats", "integers")


def require(module: str, context: LoadContext, *, package: str) -> Any:
    """The framework's module.

    Raises:
        NotLoadable: It is not installed where this replica runs.
        ImportError: It is installed and broken.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # it is there; something that it needs is not
        raise missing(package, context.manifest.packages.get(package)) from error


def missing(package: str, version: str | None) -> NotLoadable:
    """The sentence about a package that the model needs and that is not installed here."""
    pinned = f"{package}=={version}" if version else package
    return NotLoadable(
        f"This model needs {package}{f' {version}' if version else ''}, which is not installed where it runs "
        f"(Python {platform.python_version()}): install it beside the server, "
        f"or deploy the model with requirements=['{pinned}']."
    )


def only_predict(context: LoadContext) -> None:
    """For frameworks whose models have one way to be called.

    Raises:
        NotLoadable: Another method was asked for.
    """
    if context.method != "predict":
        raise NotLoadable(
            f"A model of the flavor '{context.manifest.flavor}' has no method '{context.method}': "
            "it is called as it is; deploy it with method='predict'."
        )


def only_one(what: str, names: list[str]) -> None:
    """For what a served model has exactly one of.

    Raises:
        NotLoadable: There are more, or none.
    """
    if len(names) != 1:
        listed = f" ({', '.join(names)})" if names else ""
        raise NotLoadable(
            f"The model has {len(names)} {what}{listed}, and one is expected, whose first dimension is the batch: "
            "deploy it with the input type 'tensors', or save one that takes a single tensor."
        )
