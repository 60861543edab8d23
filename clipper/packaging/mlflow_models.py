"""MLflow: a model directory, known by its ``MLmodel``; its requirements.txt comes with it."""

import json
from pathlib import Path
from typing import Any

import yaml

from clipper.domain import InputType
from clipper.errors import InvalidModel
from clipper.packaging.archive import files_below
from clipper.packaging.content import Content
from clipper.packaging.tensors import Tensor

FLAVOR = "mlflow"
DESCRIPTION = "MLmodel"
ENTRY = "mlflow_model"
MODULES = frozenset({"mlflow"})

_NUMBERS = {"double": "float64", "float": "float32", "integer": "int32", "long": "int64", "boolean": "bool"}


def looks_like(path: Path) -> bool:
    """Whether it may be a directory that MLflow saved."""
    return (path / DESCRIPTION).is_file()


def saved(path: Path, _method: str) -> Content:
    """What to package of the directory.

    Raises:
        InvalidModel: Its description cannot be read, or it cannot be called from Python.
    """
    try:
        about = yaml.safe_load((path / DESCRIPTION).read_text())
        function = about["flavors"].get("python_function")
        schema = json.loads((about.get("signature") or {}).get("inputs") or "null")
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidModel(f"'{path / DESCRIPTION}' is not a description that MLflow wrote.") from error
    if function is None:
        raise InvalidModel(
            f"The MLflow model in '{path}' has no flavor 'python_function', by which it would be called."
        )
    version = about.get("mlflow_version")
    input_type, tensor = _inputs(schema)
    requirements = path / "requirements.txt"
    return Content(
        FLAVOR,
        ENTRY,
        {f"{ENTRY}/{name}": file for name, file in files_below(path).items()},
        {"mlflow": version} if version else {},
        input_type,
        tensor.width if tensor else None,
        python=function.get("python_version"),
        framework=f"MLflow {version} ({function.get('loader_module', 'pyfunc')})"[:200],
        input_shape=tensor.row_shape if tensor and tensor.width else None,
        requirements=requirements if requirements.is_file() else None,
    )


def live(_model: Any, _directory: Path, _method: str) -> Content:
    """Models that MLflow has loaded are not saved again.

    Raises:
        InvalidModel: Always.
    """
    raise InvalidModel(
        "Deploy the directory of an MLflow model (mlflow.pyfunc.save_model(DIR, ...)), not what was loaded."
    )


def _inputs(schema: Any) -> tuple[InputType | None, Tensor | None]:
    """The input type that the signature asks for, and the tensor that a row is where it is all numbers."""
    if not isinstance(schema, list) or not schema:
        return None, None
    if len(schema) == 1 and schema[0].get("type") == "tensor":
        spec = schema[0]["tensor-spec"]
        tensor = Tensor(spec["dtype"], tuple(None if size < 0 else size for size in spec["shape"]))
        return tensor.input_type, tensor
    kinds = [_NUMBERS.get(str(column.get("type"))) for column in schema]
    if all(kinds):
        return "doubles", Tensor("float64", (None, len(kinds)))
    return "json", None
