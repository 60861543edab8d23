"""Messages of ``clipper.v1`` to queries and feedback: the validator of the gRPC port."""

import math
from typing import Any

import numpy as np

from clipper.domain import NUMERIC_INPUT_TYPES, InputType, Query
from clipper.engine.update import Update
from clipper.errors import InvalidInput, InvalidLabel, InvalidRequest
from clipper.inputs import ROW_DTYPES, check_width, encode_input, shown
from clipper_container.tensors import BYTES, DATATYPES, split_elements
from clipper_frontends.oip.datatypes import check_datatype, check_shape
from clipper_frontends.rest.array_body import encode_arrays
from clipper_frontends.rest.body import AskedApplication
from clipper_frontends.rest.limits import MAX_INPUTS_PER_REQUEST, MAX_UID_CHARS, MAX_UPDATE_ID_CHARS
from clipper_frontends.rest.rows import InputShape, RowReader, decode_json

_MAX_VERSION_CHARS = 63
_MAX_TIMEOUT_MS = 1e12
_ENCODINGS = {"text": "strings", "data": "bytes"}


class MessageReader:
    """Reads the messages of one event loop."""

    def __init__(self) -> None:
        self._json = RowReader()

    def query(self, request: Any, app: AskedApplication, arrived_s: float, timeout_ms: float | None = None) -> Query:
        """The query of a ``PredictRequest``.

        Args:
            request: The message.
            app: The application that it names.
            arrived_s: When it came, on the engine's clock.
            timeout_ms: What is left of the call's deadline; the shorter of both counts.

        Raises:
            InvalidInput: The input has the wrong type, width or range.
            InvalidRequest: Another field is out of range.
        """
        row = self.row(request.input, app, "input")
        if timeout_ms is None and not (request.uid or request.version or request.explain):
            return Query(app.name, row, arrived_s, _timeout_ms(request, None))
        return Query(app.name, row, arrived_s, **_options(request, app, timeout_ms))

    def batch(self, request: Any, app: AskedApplication, arrived_s: float, timeout_ms: float | None) -> list[Query]:
        """The queries of a ``PredictBatchRequest``; `query` says what is raised."""
        inputs = request.inputs
        if not 0 < len(inputs) <= MAX_INPUTS_PER_REQUEST:
            raise InvalidInput(f"inputs must have 1 to {MAX_INPUTS_PER_REQUEST} elements, got {len(inputs)}.")
        options = _options(request, app, timeout_ms)
        return [
            Query(app.name, self.row(one, app, f"inputs[{i}]"), arrived_s, **options) for i, one in enumerate(inputs)
        ]

    def update(self, feedback: Any, shape: InputShape, field: str) -> Update:
        """What a ``Feedback`` says.

        Raises:
            InvalidLabel: The label is no JSON, or has a number that is out of range.
            InvalidInput: The input has the wrong type, width or range.
            InvalidRequest: Another field is missing or out of range.
        """
        try:
            label = decode_json(feedback.label, f"{field}.label")
        except InvalidInput as error:
            raise InvalidLabel(error.message) from None
        about = feedback.WhichOneof("about")
        if about == "query_id":
            if feedback.uid or feedback.update_id:
                raise InvalidRequest(f"{field} has a query_id, which says it all; uid and update_id go with an input.")
            return Update(label=label, query_id=feedback.query_id)
        if about is None:
            raise InvalidRequest(f"{field} needs a query_id or an input.")
        return Update(
            label=label,
            row=self.row(feedback.input, shape, f"{field}.input"),
            uid=_text(feedback.uid, f"{field}.uid", MAX_UID_CHARS),
            update_id=_text(feedback.update_id, f"{field}.update_id", MAX_UPDATE_ID_CHARS),
        )

    def row(self, value: Any, shape: InputShape, field: str) -> bytes:
        """The row that an ``Input`` stands for.

        Raises:
            InvalidInput: It is none for this application; the sentence names ``field``.
        """
        input_type = shape.input_type
        kind = value.WhichOneof("value")
        if kind is None:
            raise InvalidInput(f"{field} is missing.")
        given = getattr(value, kind)
        if kind == "json":
            return self._json.read(given, shape, field)
        if kind == "tensors":
            return _row_of_tensors(given.tensors, shape, field)
        if kind in _ENCODINGS:
            if shape.layout is None and _ENCODINGS[kind] != input_type:
                raise InvalidInput(f"{field} has '{kind}', and the application takes {input_type}.")
            return encode_input(input_type, given, field=field, layout=shape.layout)
        if input_type in {"json", "tensors"}:  # what the numbers as text would have been
            return encode_input(input_type, _values(kind, given, field), field=field, layout=shape.layout)
        if input_type not in NUMERIC_INPUT_TYPES:
            raise InvalidInput(f"{field} has '{kind}', and the application takes {input_type}.")
        if kind == "numbers":
            return encode_input(input_type, np.fromiter(given.values, "<f8"), shape.input_width, field=field)
        return _row_of_memory(kind, given, input_type, shape.input_width, field)


def _row_of_tensors(messages: Any, shape: InputShape, field: str) -> bytes:
    """Input types that are not tensors get what JSON would have brought them."""
    arrays = {message.name: _array(message, f"{field}, tensor '{message.name}',") for message in messages}
    if len(arrays) < len(messages):
        raise InvalidInput(f"{field} has two tensors of one name.")
    value = arrays[""] if arrays.keys() == {""} else arrays
    return encode_arrays(value, shape, field)


def _array(message: Any, field: str) -> Any:
    """A view of the message's bytes; elements of BYTES as objects."""
    datatype = check_datatype(message.datatype, field)
    sizes = check_shape((1, *message.shape), field)[1:]
    try:
        if datatype == BYTES:
            elements = split_elements(message.data, math.prod(sizes))  # before anything is as large as the claim
            objects = np.empty(len(elements), object)
            objects[:] = elements
            return objects.reshape(sizes)
        return np.frombuffer(message.data, DATATYPES[datatype]).reshape(sizes)
    except ValueError:
        raise InvalidInput(
            f"{field} must have the bytes of {datatype}{list(sizes)}, got {len(message.data)} bytes."
        ) from None


def _values(kind: Any, given: Any, field: str) -> list[Any]:
    if kind == "numbers":
        return list(given.values)
    numbers: list[Any] = _array_of(kind, given, field).tolist()
    return numbers


def _array_of(kind: Any, memory: bytes, field: str) -> np.ndarray[Any, Any]:
    if len(memory) % NUMERIC_INPUT_TYPES[kind]:
        raise InvalidInput(
            f"{field} has {len(memory)} bytes of {kind}, which take {NUMERIC_INPUT_TYPES[kind]} bytes each."
        )
    return np.frombuffer(memory, ROW_DTYPES[kind])


def _row_of_memory(kind: Any, memory: bytes, input_type: InputType, width: int | None, field: str) -> bytes:
    """The row of an array's bytes; the bytes themselves where they have the application's type."""
    array = _array_of(kind, memory, field)
    if not memory or kind != input_type or (kind != "integers" and not np.isfinite(array).all()):
        return encode_input(input_type, array, width, field=field)
    check_width(input_type, memory, width, field)
    return memory


def _options(request: Any, app: AskedApplication, deadline_ms: float | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "timeout_ms": _timeout_ms(request, deadline_ms),
        "uid": _text(request.uid, "uid", MAX_UID_CHARS),
        "version": _text(request.version, "version", _MAX_VERSION_CHARS),
        "explain": request.explain,
    }
    if options["version"] is not None and app.policy_name != "single":
        raise InvalidRequest(
            f"'version' can be forced under the policy 'single' only; application '{app.name}' has '{app.policy_name}'."
        )
    return options


def _timeout_ms(request: Any, deadline_ms: float | None) -> float | None:
    """The shorter of what the query says and what is left of the call; a call that is over asks for no time at all."""
    if not request.HasField("timeout_ms"):
        return deadline_ms
    asked_ms: float = request.timeout_ms
    if not asked_ms > 0 or math.isnan(asked_ms):
        raise InvalidRequest(f"'timeout_ms' must be a number of milliseconds above 0, got {shown(asked_ms)}.")
    return min(asked_ms, _MAX_TIMEOUT_MS) if deadline_ms is None else min(asked_ms, deadline_ms)


def _text(value: str, field: str, max_chars: int) -> str | None:
    """Protocol buffers do not tell an empty string from none."""
    if len(value) > max_chars:
        raise InvalidRequest(f"'{field}' must have at most {max_chars} characters, got {len(value)}.")
    return value or None
