"""Tensors: their datatypes, and elements of BYTES as the Open Inference Protocol has them in binary. No numpy."""

import struct
from collections.abc import Mapping, Sequence
from typing import Protocol

DATATYPES: Mapping[str, str] = {
    "BOOL": "|b1",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Datatypes of the Open Inference Protocol whose elements have one size, as numpy's. ``BYTES`` is the one without."""

BYTES = "BYTES"
FREE = -1
MAX_RANK = 16
MAX_TENSORS = 64
MAX_ELEMENTS = 1 << 31
"""Of one tensor. A claim above it is refused before anything is multiplied further or allocated."""

_LENGTH = struct.Struct("<I")


class Described(Protocol):
    """What a definition says about one tensor of a query: its shape has no batch dimension."""

    @property
    def name(self) -> str:
        """Empty where there is only one tensor and it was given no name."""

    @property
    def datatype(self) -> str:
        """A key of `DATATYPES`, or ``BYTES``."""

    @property
    def shape(self) -> Sequence[int]:
        """Sizes from 1 on; `FREE` where a query decides."""


class MalformedTensor(ValueError):
    """The bytes of a tensor are not what its datatype and shape say. The sentence has no subject and no full stop."""


def count_elements(shape: Sequence[int]) -> int:
    """The product of the sizes.

    Raises:
        MalformedTensor: It is over `MAX_ELEMENTS`, however large the sizes are.
    """
    count = 1
    for size in shape:
        count *= size
        if count > MAX_ELEMENTS:
            raise MalformedTensor(f"has more than {MAX_ELEMENTS} elements by its shape {list(shape)}")
    return count


def split_elements(data: bytes | memoryview, count: int) -> list[bytes]:
    """The ``count`` elements of a tensor of BYTES. Nothing is allocated for lengths that are not true.

    Raises:
        MalformedTensor: The lengths do not add up to exactly these bytes.
    """
    view = memoryview(data)
    elements, at = elements_from(view, 0, count)
    if at != len(view):
        raise MalformedTensor(f"has {len(view) - at} bytes behind the last of its {count} elements")
    return elements


def join_elements(elements: Sequence[bytes]) -> bytes:
    """A tensor of BYTES: each element behind its length."""
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))


def elements_from(view: memoryview, at: int, count: int) -> tuple[list[bytes], int]:
    """The ``count`` elements that begin ``at`` a place, and the place behind the last one.

    Raises:
        MalformedTensor: There are fewer bytes than their lengths say.
    """
    if count * _LENGTH.size > len(view) - at:
        raise MalformedTensor(f"has {len(view) - at} bytes, too few for the lengths of {count} elements")
    elements = []
    for index in range(count):
        start = at + _LENGTH.size
        length = _LENGTH.unpack_from(view, at)[0] if start <= len(view) else 0
        at = start + length
        if at > len(view):
            raise MalformedTensor(f"ends within element {index} of {count}")
        elements.append(bytes(view[start:at]))
    return elements, at
