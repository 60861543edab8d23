"""Live objects: a fitted estimator, a model of a framework, or a function of a batch."""

import inspect
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipper.domain import InputType
from clipper.errors import InvalidModel
from clipper.manifest import OutputKind
from clipper.packaging import closures, mlflow_models, onnx_models, pickles, tensorflow_models, torch_models
from clipper.packaging.content import Content

_WITHOUT_EXAMPLE = (mlflow_models, onnx_models, tensorflow_models)


def content_of(
    model: Any,
    directory: Path,
    *,
    method: str,
    flavor: str | None,
    example: Any = None,
    input_type: InputType | None = None,
) -> Content:
    """What to package of ``model``; what is saved of it is written into ``directory``.

    Args:
        model: A fitted estimator, a module or model of a framework, or a function of one argument.
        directory: Where to write.
        method: What an estimator is asked.
        flavor: What to take it for; None: whatever it is.
        example: One input; modules of PyTorch are exported with it.
        input_type: What it shall take, where the user says.

    Raises:
        InvalidModel: It is none of these, or it cannot be saved.
    """
    if inspect.isclass(model):
        raise InvalidModel(f"'{model.__qualname__}' is a class; deploy an instance of it that has been fitted.")
    roots = _roots(model)
    if roots & torch_models.MODULES and flavor in {None, torch_models.FLAVOR}:
        return torch_models.live(model, directory, example, input_type)
    for module in _WITHOUT_EXAMPLE:
        if roots & module.MODULES and flavor in {None, module.FLAVOR}:
            content: Content = module.live(model, directory, method)
            return content
    if flavor in {None, "sklearn"} and callable(getattr(model, "predict", None)):
        return _estimator(model, directory, method)
    if flavor in {None, "python"} and callable(model):
        return _function(model, directory)
    raise InvalidModel(
        f"A model is a fitted estimator with 'predict', a module of PyTorch's, a Keras model, a function of a batch, "
        f"or the path of a saved model; "
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
        framework=_framework(model, packages),
        output_kind=_output_kind(model, method),
    )


def _framework(model: Any, packages: Mapping[str, str]) -> str | None:
    """The package that the model's own class is of, with its version."""
    root = type(model).__module__.partition(".")[0]
    name = {"sklearn": "scikit-learn"}.get(root, root)
    return f"{name} {packages[name]}" if name in packages else None


def _output_kind(model: Any, method: str) -> OutputKind | None:
    """What scikit-learn says that its estimator returns; None of one that it does not know."""
    if method == "predict_proba":
        return "scores"
    if "sklearn" not in _roots(model):
        return None
    from sklearn.base import is_classifier, is_regressor  # noqa: PLC0415 (present, since the model is made of it)

    if is_classifier(model):
        return "label"
    return "number" if is_regressor(model) else None


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


def _roots(model: Any) -> set[str]:
    return {kind.__module__.partition(".")[0] for kind in type(model).__mro__}


def _shown(model: Any) -> str:
    name = getattr(model, "__qualname__", None)
    return f"'{name}'" if name else f"a value of type '{type(model).__qualname__}'"
