"""Reads the wire form of protocol buffers: enough to look into a saved model without the framework that wrote it."""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class NotAMessage(ValueError):
    """The bytes are no protocol buffer message."""


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message in their order: (number, value); strings, bytes and messages as a view, never copied.

    Raises:
        NotAMessage: At the first byte that cannot be.
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise NotAMessage("it has a field of no known kind")
        if number == 0 or position + size > len(data):
            raise NotAMessage("it ends in the middle of a field")
        yield number, data[position : position + size]
        position += size


def messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """The values of one field that are messages, strings or bytes.

    Raises:
        NotAMessage: The bytes are no message.
    """
    for found, value in fields(data):
        if found == number and isinstance(value, memoryview):
            yield value


def message(data: memoryview, *path: int) -> memoryview | None:
    """The last value of a field of a field of ..., as the format has it for what is not repeated; None without one.

    Raises:
        NotAMessage: The bytes are no message.
    """
    found: memoryview | None = data
    for number in path:
        if found is None:
            return None
        found = max(enumerate(messages(found, number)), default=(0, None), key=lambda pair: pair[0])[1]
    return found


def text(data: memoryview, *path: int) -> str | None:
    """`message` of a string.

    Raises:
        NotAMessage: The bytes are no message.
    """
    found = message(data, *path)
    return None if found is None else str(found, "utf-8", "replace")


def integer(data: memoryview, number: int) -> int | None:
    """The last value of a field that is a signed integer; None without one.

    Raises:
        NotAMessage: The bytes are no message.
    """
    last = None
    for found, value in fields(data):
        if found == number and isinstance(value, int):
            last = value - (1 << 64) if value >> 63 else value
    return last


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:  # noqa: PLR2004  # ten groups of seven bits
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last group has no continuation bit
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    raise NotAMessage("it ends in the middle of a number")
