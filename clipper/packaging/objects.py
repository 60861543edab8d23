"""Live objects: a fitted estimator, or a function of a batch."""

import inspect
import platform
from pathlib import Path
from typing import Any

from clipper.errors import InvalidModel
from clipper.packaging import closures, pickles
from clipper.packaging.content import Content

_LATER = {"torch": "torch", "keras": "tensorflow", "tensorflow": "tensorflow", "onnx": "onnx", "onnxruntime": "onnx"}
"""Frameworks whose models have a predict of another shape, or none; their flavors are not there yet."""


def content_of(model: Any, directory: Path, *, method: str, flavor: str | None) -> Content:
    """What to package of ``model``; its pickle is written into ``directory``.

    Raises:
        InvalidModel: It is neither a fitted estimator nor a function of one argument, or it cannot be pickled.
    """
    if inspect.isclass(model):
        raise InvalidModel(f"'{model.__qualname__}' is a class; deploy an instance of it that has been fitted.")
    if flavor in {None, "sklearn"} and callable(getattr(model, "predict", None)):
        return _estimator(model, directory, method)
    if framework := _framework(model):
        raise InvalidModel(
            f"Models of {framework} cannot be deployed as they are yet; "
            "deploy a function that takes a batch and calls the model."
        )
    if flavor in {None, "python"} and callable(model):
        return _function(model, directory)
    raise InvalidModel(
        f"A model is a fitted estimator with 'predict', a function of a batch, or the path of a saved model; "
        f"{_shown(model)}{f' cannot be deployed with the flavor {flavor!r}' if flavor else ' came'}."
    )


def _estimator(model: Any, directory: Path, method: str) -> Content:
    _require_fitted(model)
    if not callable(getattr(model, method, None)):
        raise InvalidModel(f"'{type(model).__qualname__}' has no method '{method}'.")
    width = getattr(model, "n_features_in_", None)
    file, packages = _pickled(model, directory / "model.pkl")
    return Content(
        "sklearn",
        "model.pkl",
        {"model.pkl": file},
        packages,
        "doubles",
        int(width) if width is not None else None,
        python=platform.python_version(),
    )


def _require_fitted(model: Any) -> None:
    if _roots(model).isdisjoint({"sklearn"}):
        return
    from sklearn.exceptions import NotFittedError  # noqa: PLC0415 (present, since the model is made of it; slow to import)
    from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415 (as above)

    try:
        check_is_fitted(model)
    except NotFittedError:
        raise InvalidModel(f"This {type(model).__qualname__} is not fitted; call its 'fit' first.") from None
    except TypeError:
        return  # an object of scikit-learn's that is no estimator of its own (a wrapper): its predict will tell


def _function(function: Any, directory: Path) -> Content:
    if inspect.iscoroutinefunction(function):
        raise InvalidModel(f"{_shown(function)} is asynchronous; a model is an ordinary function of a batch.")
    try:
        inspect.signature(function).bind([])
    except TypeError:
        raise InvalidModel(
            f"{_shown(function)} must take one argument, the batch, and return one output for each row; "
            f"it takes {inspect.signature(function)}."
        ) from None
    except ValueError:
        pass  # builtins may hide their signature
    file, packages = _pickled(function, directory / "function.pkl")
    return Content("python", "function.pkl", {"function.pkl": file}, packages, python=platform.python_version())


def _pickled(model: Any, target: Path) -> tuple[Path, dict[str, str]]:
    with target.open("wb") as file:
        closures.dump(model, file)
    return target, closures.versions_of(pickles.scan_file(target).roots)


def _framework(model: Any) -> str | None:
    return next((_LATER[root] for root in sorted(_roots(model)) if root in _LATER), None)


def _roots(model: Any) -> set[str]:
    return {kind.__module__.partition(".")[0] for kind in type(model).__mro__}


def _shown(model: Any) -> str:
    name = getattr(model, "__qualname__", None)
    return f"'{name}'" if name else f"a value of type '{type(model).__qualname__}'"
