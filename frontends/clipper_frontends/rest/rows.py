"""The JSON text of an input to its row.

Numbers are the cost of a request: simdjson reads 784 of them into a buffer in 13 us, where msgspec and orjson need 28.
Its ``as_buffer`` flattens nested lists, though, takes the first of two equal keys and raises on integers over 64 bits,
so the fast path takes only what can be nothing but one flat list of numbers, and leaves everything else to the general
one, which also finds the words for what is wrong.
"""

import binascii
import sys
from typing import Any, Protocol

import msgspec
import simdjson

from clipper.domain import NUMERIC_INPUT_TYPES, InputType
from clipper.errors import InvalidInput, InvalidJson
from clipper.inputs import check_width, encode_input, row_of_doubles, shown
from clipper_container.layout import Layout
from clipper_frontends.rest.tensor_text import TensorText

_LITTLE_ENDIAN = sys.byteorder == "little"
_MAX_SHOWN_CHARS = 40
_COMPACT = b'{"input":['
_SPACED = b'{"input": ['


class InputShape(Protocol):
    """What an application says about its inputs."""

    @property
    def input_type(self) -> InputType:
        """The type of every input."""

    @property
    def input_width(self) -> int | None:
        """How many numbers an input has; None: any."""

    @property
    def layout(self) -> Layout | None:
        """Of the tensors in a row; None for the other input types."""


class RowReader:
    """Reads inputs; has a parser of its own, so one reader belongs to one thread."""

    def __init__(self) -> None:
        self._parser: Any = simdjson.Parser()
        self._tensors = TensorText(self._parser)

    def only_input(self, body: bytes, shape: InputShape) -> bytes | None:
        """The row of a body that is exactly ``{"input": [numbers]}``; None where the general path has to look."""
        if body.startswith(_COMPACT):
            start = 10
        elif body.startswith(_SPACED):
            start = 11
        else:
            return None
        # With one opening bracket only, the closing one at the end is that list's: nothing is behind it or inside it.
        if not body.endswith(b"]}") or body.find(b"[", start) >= 0 or not _LITTLE_ENDIAN:
            return None
        input_type = shape.input_type
        if input_type not in NUMERIC_INPUT_TYPES:
            return None
        try:
            doubles = bytes(self._parser.parse(body)["input"].as_buffer(of_type="d"))
        except (ValueError, TypeError, RuntimeError):  # RuntimeError: integers over 64 bits
            return None
        row = doubles if input_type == "doubles" else row_of_doubles(input_type, doubles) if doubles else None
        if not row:
            return None
        width = shape.input_width
        if width is not None:
            check_width(input_type, row, width, "input")
        return row

    def read(self, text: bytes, shape: InputShape, field: str) -> bytes:
        """The row of one input, whatever its type.

        Raises:
            InvalidJson: The text is not JSON.
            InvalidInput: It is, and not an input of this application.
        """
        input_type = shape.input_type
        if input_type in NUMERIC_INPUT_TYPES:
            row = self._flat_numbers(text, input_type)
            if row is not None:
                check_width(input_type, row, shape.input_width, field)
                return row
            return encode_input(input_type, _numbers(text, field), shape.input_width, field=field)
        if shape.layout is not None:
            row = self._tensors.row(text, shape.layout, field)
            return row or encode_input(input_type, decode_json(text, field), field=field, layout=shape.layout)
        value = decode_json(text, field)
        if input_type == "json":
            return msgspec.json.encode(value, order="deterministic")
        return encode_input(input_type, _from_base64(value, field) if input_type == "bytes" else value, field=field)

    def _flat_numbers(self, text: bytes, input_type: InputType) -> bytes | None:
        if not text.startswith(b"[") or text.find(b"[", 1) >= 0 or not _LITTLE_ENDIAN:
            return None
        try:
            doubles = bytes(self._parser.parse(text).as_buffer(of_type="d"))
        except (ValueError, TypeError, RuntimeError):  # RuntimeError: integers over 64 bits
            return None
        return row_of_doubles(input_type, doubles) if doubles else None


def decode_json(text: bytes | msgspec.Raw, field: str) -> object:
    """The value of a piece of JSON.

    Raises:
        InvalidJson: It is not JSON, or too deep.
        InvalidInput: It has a number that no 64-bit float can hold.
    """
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise InvalidJson(f"{field} is nested too deeply.") from None
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{field} has a number that is out of range: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson(f"{field} is not valid JSON: {error}.") from None


def _numbers(text: bytes, field: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.ValidationError:
        items = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode_json(text, field)
    for i, item in enumerate(items):
        try:
            msgspec.json.decode(item)
        except (msgspec.DecodeError, RecursionError):
            digits = bytes(item)[:_MAX_SHOWN_CHARS].decode(errors="replace")
            raise InvalidInput(f"{field}[{i}] must be a finite number, got {digits}, which is out of range.") from None
    return decode_json(text, field)


def _from_base64(value: object, field: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(f"{field} must be a string of base64, got {shown(value)}.")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError as error:
        raise InvalidInput(f"{field} must be base64 with padding: {error}.") from None
