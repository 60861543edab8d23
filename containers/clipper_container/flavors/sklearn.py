"""A fitted scikit-learn estimator, or anything with its interface (a pipeline, xgboost's and lightgbm's wrappers)."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clipper_container.flavors._contract import LoadContext, Loaded, NotLoadable
from clipper_container.flavors._frameworks import require


def load(context: LoadContext) -> Loaded:
    """Loads the estimator from a pickle or a joblib file and takes its method."""
    if context.tensors is not None and not context.tensors.is_single:
        raise NotLoadable(
            "An estimator takes one array, and it was deployed with named tensors: deploy it with one tensor without a "
            "name, such as 'FP64[4]', or with doubles."
        )
    estimator = _read(context.path(context.entry()), context)
    width = getattr(estimator, "n_features_in_", context.manifest.input_width)
    return Loaded(_method(estimator, context.method), None if width is None else int(width))


def _read(path: Path, context: LoadContext) -> Any:
    if path.suffix == ".joblib":
        return require("joblib", context, package="joblib").load(path)
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  # models are code; only the container that runs them unpickles


def _method(estimator: Any, name: str) -> Callable[[Any], Any]:
    try:
        method: Callable[[Any], Any] = getattr(estimator, name)
    except AttributeError as error:
        # A support vector classifier has predict_proba only when fitted with probability=True, and says so itself.
        raise NotLoadable(
            f"The estimator {type(estimator).__name__} has no method {name} ({error}): "
            "deploy it with another method, or fit one that has it."
        ) from error
    return method
