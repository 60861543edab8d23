"""The body of a prediction request whose numbers come as an array's memory, behind its JSON.

As with the binary tensors of the Open Inference Protocol, the header ``Inference-Header-Content-Length: N`` says that
the first N bytes are the JSON. They are the request as it always is, but for the value of ``input``, or of
``input_batch``, which says what the bytes behind them are: ``{"datatype": "FP64", "shape": [784]}``, row-major and
little-endian; or, for several tensors, an object of such descriptions by name, whose bytes follow each other in that
order. Arrays mean what their numbers in JSON would have meant. Nothing is allocated for what is only claimed.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from clipper.domain import NUMERIC_INPUT_TYPES, Query
from clipper.errors import InvalidInput, InvalidRequest
from clipper.inputs import encode_input, shown
from clipper_container.tensors import DATATYPES, count_elements
from clipper_frontends.oip.datatypes import check_shape
from clipper_frontends.rest.body import AskedApplication, asked_field, fields_of, options_of
from clipper_frontends.rest.limits import MAX_INPUTS_PER_REQUEST
from clipper_frontends.rest.rows import InputShape, decode_json

Array = npt.NDArray[Any]

_FORM = '{"datatype": "FP64", "shape": [10]}'


class _Described(msgspec.Struct, forbid_unknown_fields=True):
    datatype: str
    shape: list[int]


_described = msgspec.json.Decoder(_Described).decode
_several_described = msgspec.json.Decoder(Annotated[dict[str, _Described], msgspec.Meta(min_length=1)]).decode


def decode_array_body(body: bytes, json_bytes: int, app: AskedApplication, arrived_s: float) -> Query | list[Query]:
    """The query that a body asks, or the list of them where it has an ``input_batch``.

    Args:
        body: All of it.
        json_bytes: What the header says, as from `clipper_frontends.rest.infer_body.json_bytes_of`.
        app: The application that is asked.
        arrived_s: When the request came, on the engine's clock.

    Raises:
        InvalidJson: What should be JSON is not.
        InvalidInput: The array is not what it is said to be, or not what the application takes.
        InvalidRequest: The header or another field is wrong.
    """
    if not 0 < json_bytes <= len(body):
        raise InvalidRequest(
            f"The header 'Inference-Header-Content-Length' must be the length of the JSON that begins the body, "
            f"from 1 to {len(body)}."
        )
    fields = fields_of(body[:json_bytes])
    options = options_of(fields, app)
    name = asked_field(fields)
    arrays = _arrays(fields[name], name, memoryview(body)[json_bytes:])
    if name == "input":
        return Query(app.name, encode_arrays(arrays, app, name), arrived_s, **options)
    return [
        Query(app.name, encode_arrays(one, app, f"input_batch[{i}]"), arrived_s, **options)
        for i, one in enumerate(_rows(arrays))
    ]


def encode_arrays(value: Array | dict[str, Array], app: InputShape, field: str) -> bytes:
    """The row of one array, or of several by name; input types that take none get what JSON would have brought them.

    Raises:
        InvalidInput: It is none of the application's.
    """
    if app.input_type in NUMERIC_INPUT_TYPES and not isinstance(value, dict):
        return encode_input(app.input_type, value, app.input_width, field=field)
    if app.input_type == "tensors":
        return encode_input("tensors", value, field=field, layout=app.layout)
    plain = {name: one.tolist() for name, one in value.items()} if isinstance(value, dict) else value.tolist()
    return encode_input(app.input_type, plain, app.input_width, field=field)


def _rows(arrays: Array | dict[str, Array]) -> Sequence[Array | dict[str, Array]]:
    """The inputs of a batch, which is the first dimension of each array."""
    columns = arrays if isinstance(arrays, dict) else {"": arrays}
    lengths = {name: len(column) if column.ndim else 0 for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        raise InvalidInput(f"The arrays of input_batch must have the same first dimension, the batch, got {lengths}.")
    count = max(lengths.values())
    if count > MAX_INPUTS_PER_REQUEST:
        raise InvalidInput(
            f"input_batch has {count} inputs; a request takes at most {MAX_INPUTS_PER_REQUEST}. Send several."
        )
    if not isinstance(arrays, dict):
        return list(arrays)
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


def _arrays(text: msgspec.Raw, field: str, memory: memoryview) -> Array | dict[str, Array]:
    try:
        return _array(_described(text), field, memory)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        several = _several_described(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(
            f"{field} must say what the bytes behind the JSON are, as {_FORM}, got {shown(decode_json(text, field))}."
        ) from None
    arrays, at = {}, 0
    for i, (name, described) in enumerate(several.items()):
        what = f"{field}.{name}"
        end = len(memory) if i == len(several) - 1 else at + _bytes_of(described, what)
        arrays[name] = _array(described, what, memory[at:end])
        at = end
    return arrays


def _array(described: _Described, field: str, memory: memoryview) -> Array:
    expected = _bytes_of(described, field)
    if len(memory) != expected:
        raise InvalidInput(
            f"{field} must have {expected} bytes behind the JSON for {described.datatype} {described.shape}, "
            f"got {len(memory)} bytes."
        )
    return np.frombuffer(memory, DATATYPES[described.datatype]).reshape(described.shape)


def _bytes_of(described: _Described, field: str) -> int:
    if described.datatype not in DATATYPES:
        raise InvalidInput(
            f"The datatype of {field} must be one of {', '.join(sorted(DATATYPES))}, got {shown(described.datatype)}."
        )
    sizes = check_shape((1, *described.shape), field)
    return count_elements(sizes) * np.dtype(DATATYPES[described.datatype]).itemsize
