"""Tensors: their datatypes, and the row that the tensors of one query become.

Both ends import this module: the runtime, and the frontend that encodes what the runtime decodes.

A row has, for each dimension that the definition leaves free (-1), its size as a little-endian u32, in the order in
which the definition has them, padded with zeros to a multiple of 8 bytes; then the tensors, one directly behind the
other, each as the Open Inference Protocol has it in binary: little-endian, row-major, without gaps; an element of BYTES
has its length before it, as a little-endian u32. Where nothing is free and nothing is BYTES all rows have one length
that is known beforehand, and a batch of them becomes arrays without looking at any row.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

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


def item_bytes(datatype: str) -> int | None:
    """The size of one element; None for ``BYTES``."""
    return None if datatype == BYTES else np.dtype(DATATYPES[datatype]).itemsize


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
    elements, at = _elements_from(view, 0, count)
    if at != len(view):
        raise MalformedTensor(f"has {len(view) - at} bytes behind the last of its {count} elements")
    return elements


def join_elements(elements: Sequence[bytes]) -> bytes:
    """A tensor of BYTES: each element behind its length."""
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))


def _elements_from(view: memoryview, at: int, count: int) -> tuple[list[bytes], int]:
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


class Layout:
    """How the tensors of one definition lie in a row.

    Attributes:
        tensors: The definition.
        free: (tensor, axis) of each free dimension, in the order of the row's head.
        head_bytes: Length of the row's head; 0 where nothing is free.
        row_bytes: Length of every row; None where rows differ.

    Raises:
        ValueError: There is no tensor, or one of an unknown datatype.
    """

    __slots__ = ("free", "head_bytes", "row_bytes", "tensors")

    def __init__(self, tensors: Sequence[Described]) -> None:
        self.tensors = tuple(tensors)
        for tensor in self.tensors:
            if tensor.datatype not in DATATYPES and tensor.datatype != BYTES:
                raise ValueError(f"the tensor {tensor.name!r} has the unknown datatype {tensor.datatype!r}")
        if not self.tensors:
            raise ValueError("the input type 'tensors' needs tensors, and none is named")
        self.free = tuple(
            (index, axis)
            for index, tensor in enumerate(self.tensors)
            for axis, size in enumerate(tensor.shape)
            if size == FREE
        )
        self.head_bytes = -(-_LENGTH.size * len(self.free) // 8) * 8
        fixed = not self.free and all(tensor.datatype != BYTES for tensor in self.tensors)
        self.row_bytes = sum(self.tensor_bytes(i, t.shape) for i, t in enumerate(self.tensors)) if fixed else None

    @property
    def is_single(self) -> bool:
        """Whether a model gets the one array itself, and not a dict of arrays by name."""
        return len(self.tensors) == 1 and not self.tensors[0].name

    def tensor_bytes(self, index: int, shape: Sequence[int]) -> int:
        """The bytes of a tensor of fixed elements in one row."""
        return math.prod(shape) * np.dtype(DATATYPES[self.tensors[index].datatype]).itemsize

    def row(self, shapes: Sequence[Sequence[int]], parts: Sequence[bytes | memoryview]) -> bytes:
        """The row of one query: the ``shapes`` of its tensors, and their bytes."""
        if not self.free:
            return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
        sizes = [shapes[index][axis] for index, axis in self.free]
        return b"".join((struct.pack(f"<{len(sizes)}I", *sizes).ljust(self.head_bytes, b"\0"), *parts))

    def shapes_of(self, head: bytes | memoryview) -> list[tuple[int, ...]]:
        """The shape of each tensor in a row that begins with ``head``."""
        sizes = iter(struct.unpack_from(f"<{len(self.free)}I", head))
        return [tuple(next(sizes) if size == FREE else size for size in tensor.shape) for tensor in self.tensors]

    def split(self, row: bytes | memoryview) -> list[npt.NDArray[np.generic] | list[bytes]]:
        """The tensors of one row: views of it where elements have one size, flat lists where they are BYTES."""
        view = memoryview(row)
        at = self.head_bytes
        tensors: list[npt.NDArray[np.generic] | list[bytes]] = []
        for index, shape in enumerate(self.shapes_of(view)):
            datatype = self.tensors[index].datatype
            if datatype == BYTES:
                elements, at = _elements_from(view, at, math.prod(shape))
                tensors.append(elements)
            else:
                count = math.prod(shape)
                tensors.append(np.frombuffer(view, DATATYPES[datatype], count, at).reshape(shape))
                at += self.tensor_bytes(index, shape)
        return tensors
