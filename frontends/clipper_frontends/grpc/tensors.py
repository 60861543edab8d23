"""From messages of the Open Inference Protocol to tensors, and back."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from clipper.errors import InvalidInput, InvalidRequest
from clipper_container.tensors import BYTES, DATATYPES, MAX_RANK, count_elements
from clipper_frontends.oip.datatypes import check_datatype, check_shape
from clipper_frontends.oip.outputs import OutputTensor
from clipper_frontends.oip.request import InferTensor, tensor_of_bytes


class Field(NamedTuple):
    """The field of ``InferTensorContents`` that has the elements of a datatype, and the type of its numbers."""

    name: str
    dtype: str


FIELDS: Mapping[str, Field] = {
    "BOOL": Field("bool_contents", "|b1"),
    "INT8": Field("int_contents", "<i4"),
    "INT16": Field("int_contents", "<i4"),
    "INT32": Field("int_contents", "<i4"),
    "INT64": Field("int64_contents", "<i8"),
    "UINT8": Field("uint_contents", "<u4"),
    "UINT16": Field("uint_contents", "<u4"),
    "UINT32": Field("uint_contents", "<u4"),
    "UINT64": Field("uint64_contents", "<u8"),
    "FP32": Field("fp32_contents", "<f4"),
    "FP64": Field("fp64_contents", "<f8"),
    BYTES: Field("bytes_contents", ""),
}
"""Without FP16: the protocol has it in raw contents only."""


def tensors_of(message: Any) -> list[InferTensor]:
    """The inputs of a ``ModelInferRequest``, raw or typed.

    Raises:
        InvalidInput: One is not what its datatype and shape say. Nothing is allocated for what only a shape claims.
        InvalidRequest: The raw contents are not one for each input.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequest(
            f"'raw_input_contents' must have one element for each of the {len(message.inputs)} inputs, got {len(raw)}."
        )
    return [_tensor(tensor, raw[i] if raw else None) for i, tensor in enumerate(message.inputs)]


def _tensor(message: Any, raw: bytes | None) -> InferTensor:
    name = message.name
    field = f"input '{name}'"
    datatype = check_datatype(message.datatype, field)
    shape = check_shape(message.shape[: MAX_RANK + 1], field)  # a message may have millions of sizes
    if "shared_memory_region" in message.parameters:
        raise InvalidRequest(f"Shared memory is not served; send the data of {field} with the request.")
    if raw is None:
        return _typed(name, datatype, shape, message.contents)
    if message.HasField("contents"):
        raise InvalidInput(f"Input '{name}' has 'contents', and 'raw_input_contents' too; send one of them.")
    return tensor_of_bytes(name, datatype, shape, raw)


def _typed(name: str, datatype: str, shape: tuple[int, ...], contents: Any) -> InferTensor:
    field = FIELDS.get(datatype)
    if field is None:
        raise InvalidInput(f"Input '{name}' is {datatype}, which has no typed contents; send 'raw_input_contents'.")
    others = [found.name for found, _ in contents.ListFields() if found.name != field.name]
    if others:
        raise InvalidInput(f"Input '{name}' must have its {datatype} elements in '{field.name}', got '{others[0]}'.")
    elements = getattr(contents, field.name)
    expected = count_elements(shape)
    if len(elements) != expected:
        raise InvalidInput(
            f"Input '{name}' must have {expected} elements in '{field.name}' for the shape {list(shape)}, "
            f"got {len(elements)}."
        )
    if datatype == BYTES:
        return InferTensor(name, datatype, shape, list(elements))
    return InferTensor(name, datatype, shape, _narrowed(np.array(elements, field.dtype), name, datatype))


def _narrowed(values: Any, name: str, datatype: str) -> Any:
    """The numbers as their datatype; two sizes of integers have no field of their own."""
    dtype = np.dtype(DATATYPES[datatype])
    if values.dtype == dtype:
        return values
    bounds = np.iinfo(dtype)
    wrong = (values < bounds.min) | (values > bounds.max)
    if wrong.any():
        raise InvalidInput(f"Input '{name}' has {values[int(np.argmax(wrong))]}, which is no {datatype}.")
    return values.astype(dtype)


def can_be_typed(tensor: OutputTensor) -> bool:
    """Whether the protocol has the tensor in other than raw contents."""
    return tensor.datatype in FIELDS


def fill_contents(contents: Any, tensor: OutputTensor) -> None:
    """Write the elements of an output into an ``InferTensorContents``."""
    elements = tensor.data if tensor.datatype == BYTES else tensor.data.ravel().tolist()
    getattr(contents, FIELDS[tensor.datatype].name).extend(elements)
