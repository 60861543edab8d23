"""ONNX: a file, or a model in memory. Read as what it is, a protocol buffer; nothing of ONNX is imported."""

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clipper.errors import InvalidModel
from clipper.packaging.content import Content
from clipper.packaging.protobuf import NotAMessage, integer, message, messages, text
from clipper.packaging.tensors import Tensor, described, kind_of
from clipper.tensors import Tensor as Described

FLAVOR = "onnx"
SUFFIX = ".onnx"
ENTRY = "model.onnx"
MODULES = frozenset({"onnx"})

_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "str", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip
# Numbers of fields in onnx.proto.
_IR_VERSION, _PRODUCER, _PRODUCER_VERSION, _GRAPH, _OPSETS = 1, 2, 3, 7, 8
_INITIALIZERS, _INPUTS, _OUTPUTS = 5, 11, 12
_NAME, _TENSOR_NAME, _EXTERNAL_DATA = 1, 8, 13
_LABELS, _PROBABILITIES = ("label", "output_label"), ("probabilities", "output_probability")


def looks_like(path: Path) -> bool:
    """Whether it may be an ONNX file."""
    return path.suffix == SUFFIX


def saved(path: Path, method: str) -> Content:
    """What to package of a file; tensors that it keeps in files beside it come with it.

    Raises:
        InvalidModel: It is no ONNX model, or a file with its tensors is missing.
    """
    try:
        with path.open("rb") as file:
            # Up to 2 GB, of which little is looked at. It is unmapped when the last view of it is gone.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _content(memoryview(mapped), path, method)
    except ValueError as error:
        raise InvalidModel(f"'{path}' is no ONNX model, or a damaged one: {error}.") from error


def live(model: Any, directory: Path, method: str) -> Content:
    """What to package of an ``onnx.ModelProto``.

    Raises:
        InvalidModel: It is something else of ONNX.
    """
    if not callable(getattr(model, "SerializeToString", None)):
        raise InvalidModel(
            "Of ONNX a ModelProto or the path of a file can be deployed; an object of another kind came."
        )
    path = directory / ENTRY
    path.write_bytes(model.SerializeToString())
    return saved(path, method)


def _content(data: memoryview, path: Path, method: str) -> Content:
    graph = message(data, _GRAPH)
    if graph is None:
        raise NotAMessage("it has no graph")
    constants = {text(tensor, _TENSOR_NAME) for tensor in messages(graph, _INITIALIZERS)}
    inputs = [value for value in messages(graph, _INPUTS) if text(value, _NAME) not in constants]
    outputs = list(messages(graph, _OUTPUTS))
    tensor = _tensor(inputs[0]) if len(inputs) == 1 else None
    return Content(
        FLAVOR,
        ENTRY,
        {ENTRY: path, **_external_files(graph, path)},
        input_type=tensor.input_type if tensor else "tensors" if len(inputs) > 1 else None,
        input_width=tensor.width if tensor else None,
        framework=_framework(data),
        input_shape=tensor.row_shape if tensor and tensor.width else None,
        output_kind=_output_kind(outputs, method),
        inputs=_described(inputs),
        outputs=() if _is_classifier(outputs) else _described(outputs),
    )


def _framework(data: memoryview) -> str:
    opsets = [integer(opset, 2) for opset in messages(data, _OPSETS) if not text(opset, 1)]
    producer = " ".join(filter(None, (text(data, _PRODUCER), text(data, _PRODUCER_VERSION))))
    words = f"ONNX IR {integer(data, _IR_VERSION)}, opset {opsets[0] if opsets else '?'}"
    return (f"{words}, by {producer}" if producer else words)[:200]


def _tensor(value: memoryview) -> Tensor | None:
    """Of a ValueInfoProto; None where it is a sequence or a map."""
    kind = message(value, 2, 1)
    if kind is None:
        return None
    shape = message(kind, 2)
    sizes = () if shape is None else tuple(integer(dimension, 1) for dimension in messages(shape, 1))
    return Tensor(_DTYPES.get(integer(kind, 1) or 0, "float32"), sizes) if sizes else None


def _described(values: Sequence[memoryview]) -> tuple[Described, ...]:
    return described((text(value, _NAME) or "", _tensor(value)) for value in values)


def _output_kind(outputs: list[memoryview], method: str) -> Any:
    if _is_classifier(outputs):
        return "scores" if method == "predict_proba" else "label"
    if len(outputs) != 1:
        return "json"
    tensor = _tensor(outputs[0])
    return None if tensor is None else kind_of(tensor.shape)


def _is_classifier(outputs: list[memoryview]) -> bool:
    """Whether they are the two that converters write, of which the method chooses one."""
    names = [text(output, _NAME) for output in outputs]
    return any(name in _LABELS for name in names) and any(name in _PROBABILITIES for name in names)


def _external_files(graph: memoryview, source: Path) -> dict[str, Path]:
    files = {}
    for location in sorted(set(_locations(graph))):
        file = source.parent / location
        if not file.resolve().is_relative_to(source.parent.resolve()):
            raise InvalidModel(f"'{source}' keeps tensors in '{location}', which lies outside of its directory.")
        if not file.is_file():
            raise InvalidModel(f"'{source}' keeps tensors in '{location}', and there is no such file beside it.")
        files[location] = file
    return files


def _locations(graph: memoryview) -> Iterator[str]:
    for tensor in messages(graph, _INITIALIZERS):
        for entry in messages(tensor, _EXTERNAL_DATA):
            location = text(entry, 2)
            if text(entry, 1) == "location" and location:
                yield location
