"""The part of the Open Inference Protocol's messages that the adapter speaks: numbers and types of fields, as a table.

Only these decide what is sent; names and what is left out (parameters, requested outputs) do not. The descriptors live
in a pool of their own, so that a program may load the protocol's generated files beside them. Source: the protocol's
``open_inference_grpc.proto`` (github.com/kserve/open-inference-protocol), which Triton, MLServer and KServe share.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clipper_container.flavors._contract import LoadContext
from clipper_container.flavors._frameworks import require

SERVICE = "inference.GRPCInferenceService"
NUMPY_TYPES: Mapping[str, str] = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
    "BYTES": "str",
}  # fmt: skip
"""The protocol's name of a tensor's type -> numpy's; `str` stands for text and bytes."""

_MESSAGES: Mapping[str, str] = {
    "ModelReadyRequest": "1 string name, 2 string version",
    "ModelReadyResponse": "1 bool ready",
    "ModelMetadataRequest": "1 string name, 2 string version",
    "ModelMetadataResponse": "1 string name, 3 string platform, 4 *Metadata inputs, 5 *Metadata outputs",
    "Metadata": "1 string name, 2 string datatype, 3 *int64 shape",
    "ModelInferRequest": "1 string model_name, 2 string model_version, 5 *Tensor inputs, 7 *bytes raw_input_contents",
    "ModelInferResponse": "5 *Tensor outputs, 6 *bytes raw_output_contents",
    "Tensor": "1 string name, 2 string datatype, 3 *int64 shape, 5 Contents contents",
    "Contents": "1 *bool bools, 2 *int32 ints, 3 *int64 longs, 4 *uint32 uints, 5 *uint64 ulongs, 6 *float floats, "
    "7 *double doubles, 8 *bytes strings",
}
"""``number [*]type name``; * is repeated."""

_CONTENTS: Mapping[str, str] = {
    "BOOL": "bools", "INT8": "ints", "INT16": "ints", "INT32": "ints", "INT64": "longs", "UINT8": "uints",
    "UINT16": "uints", "UINT32": "uints", "UINT64": "ulongs", "FP32": "floats", "FP64": "doubles", "BYTES": "strings",
}  # fmt: skip
_LENGTH_BYTES = 4


class Method(NamedTuple):
    """One call of the service: its path, and the classes of what goes and what comes."""

    path: str
    request: Any
    response: Any


def methods(context: LoadContext) -> Mapping[str, Method]:
    """``ModelReady``, ``ModelMetadata`` and ``ModelInfer``.

    Raises:
        NotLoadable: protobuf is not installed.
    """
    messages = _classes(context)
    return {
        name: Method(f"/{SERVICE}/{name}", messages[f"{name}Request"], messages[f"{name}Response"])
        for name in ("ModelReady", "ModelMetadata", "ModelInfer")
    }


def _classes(context: LoadContext) -> Mapping[str, Any]:
    descriptor = require("google.protobuf.descriptor_pb2", context, package="protobuf")
    pools = require("google.protobuf.descriptor_pool", context, package="protobuf")
    factory = require("google.protobuf.message_factory", context, package="protobuf")
    file = descriptor.FileDescriptorProto(name="clipper/oip.proto", package="clipper_oip", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            _add_field(descriptor.FieldDescriptorProto, message, *field.split(" "))
    pool = pools.DescriptorPool()
    pool.Add(file)
    return {name: factory.GetMessageClass(pool.FindMessageTypeByName(f"clipper_oip.{name}")) for name in _MESSAGES}


def _add_field(kinds: Any, message: Any, number: str, kind: str, name: str) -> None:
    label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
    field = message.field.add(name=name, number=int(number), label=label)
    kind = kind.removeprefix("*")
    if kind in _MESSAGES:
        field.type, field.type_name = kinds.TYPE_MESSAGE, f".clipper_oip.{kind}"
    else:
        field.type = getattr(kinds, f"TYPE_{kind.upper()}")


def raw_bytes(array: npt.NDArray[Any]) -> bytes:
    """A tensor's content as the protocol's raw bytes: little-endian, row by row; text with its length before each."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    values = (value if isinstance(value, bytes) else str(value).encode() for value in array.ravel())
    return b"".join(len(value).to_bytes(_LENGTH_BYTES, "little") + value for value in values)


def outputs_of(response: Any) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a ModelInferResponse by name, whether their content is raw or typed.

    Raises:
        ValueError: A type that numpy does not have, or contents that do not fit the shape.
    """
    raw = response.raw_output_contents
    arrays = {}
    for i, tensor in enumerate(response.outputs):
        if tensor.datatype not in NUMPY_TYPES:
            raise ValueError(f"the output '{tensor.name}' is of the type {tensor.datatype}, which has no numbers here")
        values = _from_raw(tensor, raw[i]) if i < len(raw) else _from_contents(tensor)
        arrays[tensor.name] = values.reshape(tuple(tensor.shape))
    return arrays


def _from_raw(tensor: Any, content: bytes) -> npt.NDArray[Any]:
    if tensor.datatype != "BYTES":
        return np.frombuffer(content, np.dtype(NUMPY_TYPES[tensor.datatype]).newbyteorder("<"))
    return _objects(_strings(content))


def _from_contents(tensor: Any) -> npt.NDArray[Any]:
    if tensor.datatype not in _CONTENTS:
        raise ValueError(f"the output '{tensor.name}' of the type {tensor.datatype} came without its raw contents")
    values = getattr(tensor.contents, _CONTENTS[tensor.datatype])
    return _objects(values) if tensor.datatype == "BYTES" else np.array(values, NUMPY_TYPES[tensor.datatype])


def _objects(values: Iterable[bytes]) -> npt.NDArray[Any]:
    """An array of Python's bytes: numpy's own would lose zeros at the end."""
    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def _strings(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        end = at + _LENGTH_BYTES + int.from_bytes(content[at : at + _LENGTH_BYTES], "little")
        if end > len(content):
            raise ValueError("an output of text ends in the middle of a value")
        yield content[at + _LENGTH_BYTES : end]
        at = end
