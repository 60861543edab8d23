"""The body of a prediction request whose numbers come as an array's memory, behind its JSON.

As with the binary tensors of the Open Inference Protocol, the header ``Inference-Header-Content-Length: N`` says that
the first N bytes are the JSON. They are the request as it always is, but for the value of ``input``, or of
``input_batch``, which says what the bytes behind them are: ``{"datatype": "FP64", "shape": [784]}``, row-major and
little-endian. The array means what its numbers in JSON would have meant. Nothing is allocated for what is only claimed.
"""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from clipper.domain import NUMERIC_INPUT_TYPES, Query
from clipper.errors import InvalidInput, InvalidRequest
from clipper.inputs import encode_input, shown
from clipper_frontends.oip.datatypes import NUMERIC, check_shape
from clipper_frontends.oip.tensors import DATATYPES, count_elements
from clipper_frontends.rest.body import AskedApplication, asked_field, fields_of, options_of
from clipper_frontends.rest.limits import MAX_INPUTS_PER_REQUEST
from clipper_frontends.rest.rows import decode_json

Array = npt.NDArray[Any]

_FORM = '{"datatype": "FP64", "shape": [10]}'


class _Described(msgspec.Struct, forbid_unknown_fields=True):
    datatype: str
    shape: list[int]


_described = msgspec.json.Decoder(_Described).decode


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
    array = _array(fields[name], name, memoryview(body)[json_bytes:])
    if name == "input":
        return Query(app.name, _row(array, app, name), arrived_s, **options)
    if len(array) > MAX_INPUTS_PER_REQUEST:
        raise InvalidInput(
            f"input_batch has {len(array)} inputs; a request takes at most {MAX_INPUTS_PER_REQUEST}. Send several."
        )
    return [Query(app.name, _row(one, app, f"input_batch[{i}]"), arrived_s, **options) for i, one in enumerate(array)]


def _array(text: msgspec.Raw, field: str, memory: memoryview) -> Array:
    try:
        described = _described(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(
            f"{field} must say what the bytes behind the JSON are, as {_FORM}, got {shown(decode_json(text, field))}."
        ) from None
    if described.datatype not in NUMERIC:
        raise InvalidInput(
            f"The datatype of {field} must be one of {', '.join(sorted(NUMERIC))}, got {shown(described.datatype)}."
        )
    shape = check_shape(described.shape, field)
    dtype = np.dtype(DATATYPES[described.datatype])
    expected = count_elements(shape) * dtype.itemsize
    if len(memory) != expected:
        raise InvalidInput(
            f"{field} must have {expected} bytes behind the JSON for {described.datatype} {list(shape)}, "
            f"got {len(memory)} bytes."
        )
    return np.frombuffer(memory, dtype).reshape(shape)


def _row(array: Array, app: AskedApplication, field: str) -> bytes:
    """Other types of input get what JSON would have brought them."""
    value = array if app.input_type in NUMERIC_INPUT_TYPES else array.tolist()
    return encode_input(app.input_type, value, app.input_width, field=field)
