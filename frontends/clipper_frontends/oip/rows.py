"""From the tensors of a request to rows, one for each query of the batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from clipper.domain import NUMERIC_INPUT_TYPES
from clipper.errors import InvalidInput, InvalidJson
from clipper.inputs import MAX_F32, MAX_I32, MIN_I32, ROW_DTYPES
from clipper_container.tensors import BYTES, DATATYPES
from clipper_frontends.oip.checks import check_batch, check_finite, refuse_first
from clipper_frontends.oip.datatypes import NUMERIC
from clipper_frontends.oip.tensor_rows import rows_of_tensors

if TYPE_CHECKING:
    from clipper_frontends.oip.names import Target
    from clipper_frontends.oip.request import InferTensor

Array = npt.NDArray[Any]

_FLAT_RANK = 2


def rows_of(inputs: Sequence["InferTensor"], target: "Target") -> list[bytes]:
    """The rows of a request for ``target``.

    Raises:
        InvalidInput: The tensors are not those that it takes.
    """
    if target.layout is not None:
        return rows_of_tensors(inputs, target.layout, target.name)
    if len(inputs) != 1:
        names = ", ".join(f"'{tensor.name}'" for tensor in inputs) or "none"
        raise InvalidInput(f"Model '{target.name}' takes one input tensor, got {len(inputs)} ({names}).")
    (tensor,) = inputs
    if target.input_type in NUMERIC_INPUT_TYPES:
        return _rows_of_numbers(tensor, target)
    return _rows_of_elements(tensor, target)


def _rows_of_numbers(tensor: "InferTensor", target: "Target") -> list[bytes]:
    input_type, shape = target.input_type, tensor.shape
    if tensor.datatype not in NUMERIC:
        raise InvalidInput(
            f"Model '{target.name}' takes {input_type}; input '{tensor.name}' has the datatype {tensor.datatype}."
        )
    if len(shape) != _FLAT_RANK:
        raise InvalidInput(
            f"Input '{tensor.name}' must have the shape [batch, numbers], got {list(shape)}; one query of 10 numbers "
            "has the shape [1, 10]."
        )
    count, width = shape
    if target.input_width is not None and width != target.input_width:
        raise InvalidInput(f"Input '{tensor.name}' must have {target.input_width} numbers a query, got {width}.")
    check_batch(count)
    row_bytes = width * NUMERIC_INPUT_TYPES[input_type]
    data = _converted(np.frombuffer(tensor.data, DATATYPES[tensor.datatype]), input_type, tensor)
    if count == 1:
        return [bytes(data)]
    view = memoryview(data).cast("B")
    return [bytes(view[at : at + row_bytes]) for at in range(0, count * row_bytes, row_bytes)]


def _converted(values: Array, input_type: str, tensor: "InferTensor") -> Any:
    """The values as the rows of ``input_type`` have them; what does not fit there is refused, as it is in JSON."""
    check_finite(values, tensor)
    dtype = ROW_DTYPES[input_type]
    if values.dtype.str == dtype:
        return tensor.data
    kind = values.dtype.kind
    if input_type == "integers":
        if kind == "f":
            values = values.astype("<f8")  # the bounds are no numbers of the narrower types
        wrong = (values < MIN_I32) | (values > MAX_I32)
        if kind == "f":
            wrong |= values != np.floor(values)
        refuse_first(values, wrong, tensor, f"a whole number from {MIN_I32} to {MAX_I32}")
    elif input_type == "floats" and tensor.datatype == "FP64":
        wrong = np.abs(values) > MAX_F32
        refuse_first(values, wrong, tensor, f"a finite number within the 32-bit range of +-{MAX_F32:.6g}")
    return values.astype(dtype)


def _rows_of_elements(tensor: "InferTensor", target: "Target") -> list[bytes]:
    input_type, shape = target.input_type, tensor.shape
    if tensor.datatype != BYTES:
        raise InvalidInput(
            f"Model '{target.name}' takes {input_type}, as BYTES; input '{tensor.name}' has the datatype "
            f"{tensor.datatype}."
        )
    if len(shape) > _FLAT_RANK or (len(shape) == _FLAT_RANK and shape[1] != 1):
        raise InvalidInput(
            f"Input '{tensor.name}' must have the shape [batch] or [batch, 1], one element a query, got {list(shape)}."
        )
    check_batch(shape[0])
    elements: list[bytes] = tensor.data
    if input_type == "bytes":
        return elements
    check = _checked_text if input_type == "strings" else _canonical_json
    return [check(element, f"input '{tensor.name}' at [{i}]") for i, element in enumerate(elements)]


def _checked_text(element: bytes, field: str) -> bytes:
    try:
        element.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{field[0].upper()}{field[1:]} must be UTF-8: {error}.") from None
    return element


def _canonical_json(element: bytes, field: str) -> bytes:
    try:
        return msgspec.json.encode(msgspec.json.decode(element), order="deterministic")
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{field[0].upper()}{field[1:]} has a number that is out of range: {error}.") from None
    except RecursionError:
        raise InvalidJson(f"{field[0].upper()}{field[1:]} is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson(f"{field[0].upper()}{field[1:]} must be JSON text: {error}.") from None
