"""The body of an inference request of the Open Inference Protocol: JSON, perhaps with binary tensors behind it.

With the header ``Inference-Header-Content-Length: N`` the first N bytes are the JSON; the tensors that it announces
with ``binary_data_size`` follow in its order, without gaps. Nothing is allocated for what is only claimed: every size
is held against the bytes that are there.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from clipper.errors import InvalidInput, InvalidJson, InvalidRequest
from clipper.inputs import shown
from clipper_frontends.oip.datatypes import check_datatype, check_shape
from clipper_frontends.oip.json_data import JsonDataReader
from clipper_frontends.oip.request import (
    InferRequest,
    InferTensor,
    RequestedOutput,
    checked_id,
    tensor_of_bytes,
)
from clipper_frontends.rest.infer_frames import InferFrames

JSON_BYTES_HEADER = b"inference-header-content-length"
MALFORMED = -1
"""Stands for a length in the header that is no length."""

_MAX_LENGTH_DIGITS = 12


class _Input(msgspec.Struct):
    name: str
    datatype: Any
    shape: Any
    parameters: dict[str, Any] | None = None
    data: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Body(msgspec.Struct):
    """Fields that the protocol does not know are left alone: clients send those of its extensions."""

    inputs: list[_Input]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_Output] | None = None


_decode = msgspec.json.Decoder(_Body).decode


def json_bytes_of(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """The length of the JSON, where a header says it; `MALFORMED` where the header says something else."""
    for name, value in headers:
        if len(name) == len(JSON_BYTES_HEADER) and name.lower() == JSON_BYTES_HEADER:
            digits = value.strip()
            return int(digits) if digits.isdigit() and len(digits) <= _MAX_LENGTH_DIGITS else MALFORMED
    return None


class InferBodyReader:
    """Reads bodies; has a parser of its own, so one reader belongs to one thread."""

    def __init__(self) -> None:
        self._data = JsonDataReader()
        self._frames = InferFrames(self._data)

    def read(self, body: bytes, json_bytes: int | None) -> InferRequest:
        """The request that a body is.

        Args:
            body: All of it.
            json_bytes: As from `json_bytes_of`; None: there is nothing but JSON.

        Raises:
            InvalidJson: The JSON is none.
            InvalidRequest: A field or the header is missing or wrong.
            InvalidInput: A tensor is not what it says that it is.
        """
        frames = self._frames
        request = frames.read_json(body) if json_bytes is None else frames.read_binary(body, json_bytes)
        return request if request is not None else self._read_anew(body, json_bytes)

    def _read_anew(self, body: bytes, json_bytes: int | None) -> InferRequest:
        head, tail = _parted(body, json_bytes)
        fields = _fields(head)
        binary = _Binary(tail, announced=json_bytes is not None)
        inputs = [self._tensor(field, binary) for field in fields.inputs]
        binary.check_end()
        outputs = fields.outputs or ()
        request = InferRequest(
            inputs,
            checked_id(fields.id or ""),
            fields.parameters or {},
            [RequestedOutput(output.name, output.parameters or {}) for output in outputs],
        )
        if len(inputs) == 1:
            text = bytes(fields.inputs[0].data)
            if json_bytes is None:
                self._frames.learn_json(body, text, request)
            elif not text:
                self._frames.learn_binary(body, json_bytes, request)
        return request

    def _tensor(self, field: _Input, binary: "_Binary") -> InferTensor:
        what = f"input '{field.name}'"
        datatype = check_datatype(field.datatype, what)
        shape = check_shape(field.shape, what)
        parameters = field.parameters or {}
        text = bytes(field.data)
        size = parameters.get("binary_data_size")
        if parameters.get("shared_memory_region"):
            raise InvalidRequest(f"Shared memory is not served; send the data of {what} with the request.")
        if (size is None) == (not text):
            raise InvalidRequest(
                f"Exactly one of 'data' and the parameter 'binary_data_size' is required of {what}; "
                f"{'both came' if text else 'neither came'}."
            )
        if size is None:
            return self._data.tensor(field.name, datatype, shape, text)
        return tensor_of_bytes(field.name, datatype, shape, binary.take(size, what))


class _Binary:
    """The binary part of a body, taken piece by piece without a copy."""

    __slots__ = ("_announced", "_at", "_data")

    def __init__(self, data: memoryview, *, announced: bool) -> None:
        self._data = data
        self._announced = announced
        self._at = 0

    def take(self, size: Any, what: str) -> memoryview:
        if not self._announced:
            raise InvalidRequest(
                f"{what[0].upper()}{what[1:]} announces binary data; the header 'Inference-Header-Content-Length' with "
                "the length of the JSON before it is missing."
            )
        left = len(self._data) - self._at
        if type(size) is not int or not 0 <= size <= left:
            raise InvalidInput(
                f"The parameter 'binary_data_size' of {what} must be a number of bytes that came; {left} are left, "
                f"got {shown(size)}."
            )
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    def check_end(self) -> None:
        left = len(self._data) - self._at
        if left:
            raise InvalidInput(f"The body has {left} bytes that no input's 'binary_data_size' speaks of.")


def _parted(body: bytes, json_bytes: int | None) -> tuple[bytes, memoryview]:
    if json_bytes is None:
        return body, memoryview(b"")
    if not 0 < json_bytes <= len(body):
        raise InvalidRequest(
            f"The header 'Inference-Header-Content-Length' must be the length of the JSON that begins the body, "
            f"from 1 to {len(body)}."
        )
    return body[:json_bytes], memoryview(body)[json_bytes:]


def _fields(text: bytes) -> _Body:
    if not text or text.isspace():
        raise InvalidJson("The body is empty; send a JSON object with 'inputs'.")
    try:
        return _decode(text)
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The body must be an inference request with 'inputs': {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
