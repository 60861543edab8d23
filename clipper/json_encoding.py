"""JSON that comes and goes: whatever was sent is read strictly, or refused with a sentence.

Python values become the JSON that the server takes: arrays are lists, bytes are base64.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from clipper.errors import InvalidInput, InvalidJson


def decode(text: bytes, what: str) -> Any:
    """The value that ``text`` is; ``what`` names it in the error ("The body").

    Stricter than Python's own reader: no NaN, no Infinity, no lone surrogate, no number out of range. None of them
    could be stored or sent on.

    Raises:
        InvalidJson: It is not JSON.
    """
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise InvalidJson(f"{what} must be JSON; it is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson(f"{what} must be JSON: {error}.") from None


def encode(body: Mapping[str, Any]) -> bytes:
    """The body of a request.

    Raises:
        InvalidInput: A number is NaN or infinite, or a value has no form in JSON.
    """
    try:
        return json.dumps(body, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        raise InvalidInput(f"Numbers must be finite; there is a NaN or an Infinity in {', '.join(body)}.") from None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if callable(tolist := getattr(value, "tolist", None)):  # numpy and torch, without importing either
        return tolist()
    if callable(array := getattr(value, "__array__", None)):  # a pandas Series
        return array().tolist()
    if isinstance(value, set | frozenset):
        raise InvalidInput("A set has no order; send a list.")
    raise InvalidInput(
        f"A value of type '{type(value).__qualname__}' has no form in JSON; "
        "send numbers, strings, bytes, lists, dicts or numpy arrays."
    )
