"""Python values as the JSON that the server takes: arrays become lists, bytes base64."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from clipper.errors import InvalidInput


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
