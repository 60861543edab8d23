"""Typed inputs and their row encoding: the bytes that queues, caches and containers see.

========  ===========================================================================
doubles   little-endian 64-bit floats, back to back
floats    little-endian 32-bit floats
integers  little-endian 32-bit integers
strings   UTF-8
bytes     as they are
json      canonical JSON: keys sorted, no white space
tensors   as `clipper_container.tensors` says
========  ===========================================================================
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from clipper.domain import NUMERIC_INPUT_TYPES, InputType
from clipper.errors import InvalidInput
from clipper_container.layout import Layout
from clipper_container.tensor_values import decode_tensors, encode_tensors
from clipper_container.tensors import MalformedTensor

ROW_DTYPES = {"doubles": "<f8", "floats": "<f4", "integers": "<i4"}
MAX_I32 = 2**31 - 1
MIN_I32 = -(2**31)
MAX_F32 = float(np.finfo(np.float32).max)
_MAX_SHOWN_CHARS = 40
_NUMBER_TYPES = frozenset({int, float})
_EXPECTED_NUMBER = {
    "doubles": "a finite 64-bit number",
    "floats": f"a finite number within the 32-bit range of +-{MAX_F32:.6g}",
    "integers": f"a whole number from {MIN_I32} to {MAX_I32}",
}


def encode_input(
    input_type: InputType,
    value: Any,
    width: int | None = None,
    *,
    field: str = "input",
    layout: Layout | None = None,
) -> bytes:
    """One input as a row.

    Args:
        input_type: What the application takes.
        value: A sequence of numbers or a 1-D array, a string, bytes, or a JSON value.
        width: How many numbers are expected; None where any number of them is.
        field: What the error calls the input.
        layout: Of tensors, which are nested lists or arrays; several in a mapping by name.

    Raises:
        InvalidInput: The sentence names the field, what was expected and what came.
    """
    if input_type in NUMERIC_INPUT_TYPES:
        return _encode_numbers(input_type, value, width, field)
    if input_type == "strings":
        return _encode_string(value, field)
    if input_type == "bytes":
        if not isinstance(value, bytes | bytearray | memoryview):
            raise InvalidInput(f"{field} must be bytes, got {shown(value)}.")
        return bytes(value)
    if input_type == "tensors":
        return _encode_tensors(value, layout, field)
    return _encode_json(value, field)


def decode_input(input_type: InputType, row: bytes, layout: Layout | None = None) -> Any:
    """The input that a row encodes, as plain Python values (numbers as a list); tensors need their ``layout``."""
    if input_type == "tensors":
        return row if layout is None else decode_tensors(layout, row)
    if input_type in NUMERIC_INPUT_TYPES:
        return np.frombuffer(row, ROW_DTYPES[input_type]).tolist()
    if input_type == "strings":
        return row.decode()
    return row if input_type == "bytes" else msgspec.json.decode(row)


def check_width(input_type: InputType, row: bytes, width: int | None, field: str) -> None:
    """Refuse a row of numbers that has not the ``width`` which the model takes.

    Raises:
        InvalidInput: With both numbers.
    """
    if width is None:
        return
    count = len(row) // NUMERIC_INPUT_TYPES[input_type]
    if count != width:
        raise InvalidInput(f"{field} must have {width} numbers, got {count}.")


def row_of_doubles(input_type: InputType, doubles: bytes) -> bytes | None:
    """The row for finite numbers that are 64-bit floats already; None where one of them does not fit the type."""
    if input_type == "doubles":
        return doubles
    values = np.frombuffer(doubles, "<f8")
    if input_type == "floats":
        return values.astype("<f4").tobytes() if np.abs(values).max() <= MAX_F32 else None
    fits = values.min() >= MIN_I32 and values.max() <= MAX_I32 and bool((values == np.floor(values)).all())
    return values.astype("<i4").tobytes() if fits else None


def shown(value: Any) -> str:
    """``value`` for an error sentence: as JSON where it is JSON, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."


def _encode_numbers(input_type: InputType, value: Any, width: int | None, field: str) -> bytes:
    if isinstance(value, np.ndarray):
        row = _encode_array(input_type, value, field)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        row = _encode_sequence(input_type, value, field)
    else:
        raise InvalidInput(f"{field} must be a list of numbers, got {shown(value)}.")
    if not row:
        raise InvalidInput(f"{field} must have at least one number, got an empty list.")
    check_width(input_type, row, width, field)
    return row


def _encode_array(input_type: InputType, array: np.ndarray[Any, Any], field: str) -> bytes:
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise InvalidInput(
            f"{field} must be a 1-D array of numbers, got {array.ndim} dimensions of {array.dtype.name}."
        )
    if array.dtype == ROW_DTYPES[input_type] and (array.dtype.kind == "i" or np.isfinite(array).all()):
        return array.tobytes()
    return _encode_sequence(input_type, array.tolist(), field)


def _encode_sequence(input_type: InputType, values: Sequence[Any], field: str) -> bytes:
    plain = values if set(map(type, values)) <= _NUMBER_TYPES else [_plain(v) for v in values]
    for i, number in enumerate(plain):
        if not _fits(input_type, number):
            expected = "a number" if type(number) not in _NUMBER_TYPES else _EXPECTED_NUMBER[input_type]
            raise InvalidInput(f"{field}[{i}] must be {expected}, got {shown(values[i])}.")
    return np.array(plain, ROW_DTYPES[input_type]).tobytes()


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's own; everything else as it is."""
    return value.item() if isinstance(value, np.integer | np.floating) else value


def _fits(input_type: InputType, number: Any) -> bool:
    if type(number) is not int and type(number) is not float:
        return False
    if input_type == "integers":
        return MIN_I32 <= number <= MAX_I32 and float(number).is_integer()
    try:
        magnitude = abs(float(number))
    except OverflowError:
        return False
    return magnitude <= (MAX_F32 if input_type == "floats" else math.inf) and math.isfinite(magnitude)


def _encode_string(value: Any, field: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(f"{field} must be a string, got {shown(value)}.")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{field} must be text that UTF-8 can encode; it has a lone surrogate.") from None


def _encode_tensors(value: Any, layout: Layout | None, field: str) -> bytes:
    if layout is None:
        raise InvalidInput(f"{field} cannot be encoded: the tensors of the model are not known here.")
    try:
        return encode_tensors(layout, value)
    except MalformedTensor as fault:
        raise InvalidInput(f"{field} {fault}.") from None


def _encode_json(value: Any, field: str) -> bytes:
    try:
        json.dumps(value, allow_nan=False, check_circular=True)  # msgspec would write NaN as null
        return msgspec.json.encode(value, order="deterministic")
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidInput(f"{field} must be a JSON value: {error}.") from None
