"""Saved models: the flavor is recognised by looking, never by loading."""

import ast
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from clipper.errors import InvalidModel, InvalidRequest
from clipper.manifest import MANIFEST_NAME, parse_manifest
from clipper.packaging import mlflow_models, onnx_models, pickles, tensorflow_models, torch_models
from clipper.packaging.archive import files_below
from clipper.packaging.content import Content

PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib")
FORMATS: Mapping[str, ModuleType] = {
    module.FLAVOR: module for module in (mlflow_models, onnx_models, tensorflow_models, torch_models)
}
"""Flavors that keep models in files of their own, by name."""
FLAVORS = ("sklearn", "python", *sorted(FORMATS))
FUNCTION_NAME = "predict"
ESTIMATOR_PACKAGES = frozenset({"sklearn", "xgboost", "lightgbm", "catboost", "imblearn"})
"""Packages whose models have scikit-learn's interface."""

SUPPORTED = (
    "a pickled or joblib-saved estimator (.pkl, .pickle, .joblib), a program of PyTorch's (.pt2, .pt), "
    "a SavedModel directory or a .keras file of TensorFlow's, an .onnx file, a directory that MLflow saved, "
    "a Python file that defines 'predict' (.py), or a directory with a manifest.json"
)


def content_of(path: Path, *, method: str, flavor: str | None) -> Content:
    """What to package of the file or directory ``path``; ``flavor`` overrides what it looks like.

    Raises:
        InvalidModel: It does not exist, or nothing in it says how to serve it.
    """
    if not path.exists():
        raise InvalidModel(f"There is no file '{path}'.")
    if (path / MANIFEST_NAME).is_file():
        return _packaged(path, flavor)
    if flavor not in {None, *FLAVORS}:
        raise InvalidModel(f"There is no flavor '{flavor}' for a saved model; there is {', '.join(FLAVORS)}.")
    named = FORMATS.get(flavor or "")
    found = named or next((module for module in FORMATS.values() if module.looks_like(path)), None)
    if found is not None and flavor in {None, found.FLAVOR}:
        content: Content = found.saved(path, method)
        return content
    if path.is_dir():
        raise InvalidModel(f"'{path}' is a directory without a {MANIFEST_NAME}; a saved model is {SUPPORTED}.")
    if path.suffix == ".py" and flavor in {None, "python"}:
        return _source(path)
    if path.suffix in PICKLE_SUFFIXES or flavor is not None:
        return _pickle(path, flavor)
    raise InvalidModel(f"'{path}' is not a saved model that is known: {SUPPORTED}. If it is one, name its --flavor.")


def _packaged(path: Path, flavor: str | None) -> Content:
    manifest_path = path / MANIFEST_NAME
    text = manifest_path.read_bytes()
    try:
        manifest = parse_manifest(text)
    except InvalidRequest as error:
        raise InvalidModel(f"In '{path}': {error.message}") from error
    if flavor not in {None, manifest.flavor}:
        raise InvalidModel(f"'{manifest_path}' says that the flavor is '{manifest.flavor}', not '{flavor}'.")
    files = files_below(path)
    entry = (manifest.entry or MANIFEST_NAME).partition(":")[0]
    if entry not in files and not any(name.startswith(f"{entry}/") for name in files):
        raise InvalidModel(f"'{manifest_path}' names the entry '{entry}', and there is no such file beside it.")
    return Content(
        manifest.flavor,
        manifest.entry,
        {name: file for name, file in files.items() if name != MANIFEST_NAME},
        manifest.packages,
        manifest.input_type,
        manifest.input_width,
        text,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
    )


def _source(path: Path) -> Content:
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise InvalidModel(f"'{path}' is not Python: {error}.") from error
    if FUNCTION_NAME not in _defined(tree):
        raise InvalidModel(
            f"'{path}' defines no '{FUNCTION_NAME}'; it takes a batch and returns one output for each row."
        )
    return Content("python", f"model.py:{FUNCTION_NAME}", {"model.py": path})


def _defined(tree: ast.Module) -> set[str]:
    """The names that the top level of a module binds, in its blocks too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


def _pickle(path: Path, flavor: str | None) -> Content:
    try:
        contents = pickles.scan_file(path)
    except (ValueError, OSError) as error:
        raise InvalidModel(f"'{path}' cannot be read as a pickle; it is empty, damaged or something else.") from error
    recognised = flavor or _flavor_of(contents)
    if recognised is None:
        seen = ", ".join(sorted(contents.roots)) or "nothing but plain values"
        raise InvalidModel(
            f"'{path}' holds no estimator that is known (it refers to {seen}). "
            "Name its --flavor: 'sklearn' for an object with 'predict', 'python' for a function of a batch."
        )
    packages = {"scikit-learn": contents.sklearn_version} if contents.sklearn_version else {}
    if recognised == "python":
        return Content("python", "function.pkl", {"function.pkl": path}, packages)
    entry = "model.joblib" if path.suffix == ".joblib" else "model.pkl"
    words = f"scikit-learn {contents.sklearn_version}" if contents.sklearn_version else None
    return Content("sklearn", entry, {entry: path}, packages, "doubles", framework=words)


def _flavor_of(contents: pickles.Contents) -> str | None:
    """A function of cloudpickle's may refer to an estimator; its own machinery comes first then."""
    for module in contents.modules:
        root = module.partition(".")[0]
        if root in ESTIMATOR_PACKAGES:
            return "sklearn"
        if root == "cloudpickle":
            return "python"
    return None
