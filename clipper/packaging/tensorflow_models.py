"""TensorFlow: a SavedModel directory, a ``.keras`` file, or a live Keras model, which is saved for the user."""

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

from clipper.errors import InvalidModel
from clipper.packaging.archive import files_below
from clipper.packaging.content import Content
from clipper.packaging.protobuf import NotAMessage, integer, message, messages, text
from clipper.packaging.tensors import Tensor, described, kind_of

FLAVOR = "tensorflow"
KERAS_SUFFIX = ".keras"
KERAS_ENTRY, SAVED_MODEL_ENTRY = "model.keras", "saved_model"
PROGRAM = "saved_model.pb"
SIGNATURE = "serving_default"
MODULES = frozenset({"keras", "tensorflow", "tf_keras"})

_DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "str", 9: "int64", 10: "bool",
    14: "bfloat16", 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip


def looks_like(path: Path) -> bool:
    """Whether it may be a model of TensorFlow."""
    return (path / PROGRAM).is_file() if path.is_dir() else path.suffix == KERAS_SUFFIX


def saved(path: Path, _method: str) -> Content:
    """What to package of a directory or file.

    Raises:
        InvalidModel: It is damaged, or something else.
    """
    return _saved_model(path) if path.is_dir() else _keras(path)


def live(model: Any, directory: Path, _method: str) -> Content:
    """Saves a Keras model.

    Raises:
        InvalidModel: It is not one, or it cannot be saved.
    """
    if not callable(getattr(model, "save", None)):
        raise InvalidModel(
            f"Of TensorFlow a Keras model can be deployed as it is; '{type(model).__qualname__}' is none. "
            "Save it with tf.saved_model.save(model, DIR, signatures=function) and deploy the directory."
        )
    path = directory / KERAS_ENTRY
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the framework about itself
            model.save(path)
    except Exception as error:
        raise InvalidModel(
            f"This {type(model).__qualname__} cannot be saved by Keras: {type(error).__name__}: {error}"
        ) from error
    return _keras(path)


def _keras(path: Path) -> Content:
    try:
        with zipfile.ZipFile(path) as archive:
            about, config = (json.loads(archive.read(name)) for name in ("metadata.json", "config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InvalidModel(
            f"'{path}' is no model that Keras 3 saved; save it with model.save('NAME.keras')."
        ) from error
    inputs = _keras_inputs(config)
    tensor = inputs[0][1] if len(inputs) == 1 else None
    version = about.get("keras_version")
    return Content(
        FLAVOR,
        KERAS_ENTRY,
        {KERAS_ENTRY: path},
        {"keras": version} if version else {},
        tensor.input_type if tensor else "tensors" if inputs else "floats",
        tensor.width if tensor else None,
        framework=f"Keras {version}",
        input_shape=tensor.row_shape if tensor and tensor.width else None,
        inputs=described(inputs),
    )


def _keras_inputs(config: Any) -> list[tuple[str, Tensor]]:
    """The input layers; none where the model was built by its first batch."""
    try:
        layers = [layer["config"] for layer in config["config"]["layers"] if layer["class_name"] == "InputLayer"]
        return [
            (layer.get("name", ""), Tensor(_keras_dtype(layer["dtype"]), tuple(layer["batch_shape"])))
            for layer in layers
        ]
    except (KeyError, TypeError):
        return []


def _keras_dtype(dtype: Any) -> str:
    return "str" if dtype == "string" else str(dtype)


def _saved_model(path: Path) -> Content:
    try:
        graph = message(memoryview((path / PROGRAM).read_bytes()), 2) or memoryview(b"")
        version = text(graph, 1, 5)
        signature = next((message(s, 2) for s in messages(graph, 5) if text(s, 1) == SIGNATURE), None)
        inputs = _tensors(signature, 1) if signature is not None else []
        outputs = _tensors(signature, 2) if signature is not None else []
    except NotAMessage as error:
        raise InvalidModel(f"'{path / PROGRAM}' is no SavedModel, or a damaged one: {error}.") from error
    if signature is None:
        raise InvalidModel(
            f"The SavedModel in '{path}' has no signature '{SIGNATURE}': save it with model.export(DIR) of Keras, "
            "or with tf.saved_model.save(model, DIR, signatures=function)."
        )
    tensor = inputs[0][1] if len(inputs) == 1 else None
    return Content(
        FLAVOR,
        SAVED_MODEL_ENTRY,
        {f"{SAVED_MODEL_ENTRY}/{name}": file for name, file in files_below(path).items()},
        {"tensorflow": version} if version else {},
        tensor.input_type if tensor else "tensors" if inputs else "floats",
        tensor.width if tensor else None,
        framework=f"TensorFlow {version}",
        input_shape=tensor.row_shape if tensor and tensor.width else None,
        output_kind=kind_of(outputs[0][1].shape) if len(outputs) == 1 and outputs[0][1].shape else None,
        inputs=described(inputs),
        outputs=described(outputs),
    )


def _tensors(signature: memoryview, number: int) -> list[tuple[str, Tensor]]:
    """The inputs (1) or outputs (2) of a SignatureDef, by name."""
    infos = [(text(entry, 1) or "", message(entry, 2)) for entry in messages(signature, number)]
    return [(name, _tensor(info)) for name, info in infos if info is not None]


def _tensor(info: memoryview) -> Tensor:
    shape = message(info, 3)
    sizes = [] if shape is None else [integer(dimension, 1) or 0 for dimension in messages(shape, 2)]
    return Tensor(_DTYPES.get(integer(info, 2) or 0, "float32"), tuple(None if size < 0 else size for size in sizes))
