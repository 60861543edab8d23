"""How the tensors of one query lie in its row.

A row has, for each dimension that the definition leaves free (-1), its size as a little-endian u32, in the order in
which the definition has them, padded with zeros to a multiple of 8 bytes; then the tensors, one directly behind the
other, each as the Open Inference Protocol has it in binary: little-endian, row-major, without gaps; an element of BYTES
has its length before it, as a little-endian u32. Where nothing is free and nothing is BYTES all rows have one length
that is known beforehand, and a batch of them becomes arrays without looking at any row.

Both ends import this module: the runtime, and the frontend that encodes what the runtime decodes.
"""

import math
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clipper_container.tensors import BYTES, DATATYPES, FREE, Described, MalformedTensor, elements_from

_SIZE_BYTES = 4


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
        self.head_bytes = -(-_SIZE_BYTES * len(self.free) // 8) * 8
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
        """The tensors of one row: views of it where elements have one size, flat lists where they are BYTES.

        Raises:
            ValueError: The row has another length than its tensors.
        """
        view = memoryview(row)
        if len(view) < self.head_bytes:
            raise MalformedTensor(f"has {len(view)} bytes, too few for the sizes of its tensors")
        at = self.head_bytes
        tensors: list[npt.NDArray[np.generic] | list[bytes]] = []
        for index, shape in enumerate(self.shapes_of(view)):
            datatype = self.tensors[index].datatype
            if datatype == BYTES:
                elements, at = elements_from(view, at, math.prod(shape))
                tensors.append(elements)
            else:
                count = math.prod(shape)
                tensors.append(np.frombuffer(view, DATATYPES[datatype], count, at).reshape(shape))
                at += self.tensor_bytes(index, shape)
        if at != len(view):
            raise MalformedTensor(f"has {len(view)} bytes, and its tensors have {at}")
        return tensors
