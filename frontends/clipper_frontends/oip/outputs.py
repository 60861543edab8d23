"""From the JSON values that models answer with to tensors of the protocol."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from clipper_container.tensors import BYTES, DATATYPES, MAX_RANK, join_elements

NUMBERS: frozenset[type] = frozenset({int, float})
_MIN_I64, _MAX_I64, _MAX_U64 = -(2**63), 2**63 - 1, 2**64 - 1


class OutputTensor(msgspec.Struct, frozen=True, gc=False):
    """One output. ``data`` is an array of that shape, row-major and little-endian; for BYTES a flat list of bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any

    def to_bytes(self) -> bytes:
        """The tensor in the protocol's binary form."""
        if self.datatype == BYTES:
            return join_elements(self.data)
        array: npt.NDArray[Any] = self.data
        return array.tobytes()


def inferred_output(name: str, values: Sequence[Any]) -> OutputTensor:
    """One tensor of all answers where nothing is known of them.

    Whole numbers become INT64 (UINT64 where they are too large), others FP64, strings BYTES, booleans BOOL; lists of
    equal lengths become dimensions. Whatever is none of these is BYTES: one element of JSON text for each query.
    """
    shape, leaves = unnested(values)
    if leaves is not None:
        datatype = _datatype_of(leaves)
        if datatype == BYTES:
            return OutputTensor(name, BYTES, shape, [leaf.encode() for leaf in leaves])
        if datatype is not None:
            return OutputTensor(name, datatype, shape, np.array(leaves, DATATYPES[datatype]).reshape(shape))
    return OutputTensor(name, BYTES, (len(values),), [msgspec.json.encode(value) for value in values])


def unnested(values: Sequence[Any]) -> tuple[tuple[int, ...], list[Any] | None]:
    """The shape of nested lists, and their leaves; no leaves where they are ragged, mixed, empty or too deep."""
    shape = [len(values)]
    leaves = list(values)
    while leaves and type(leaves[0]) is list:
        size = len(leaves[0])
        if size == 0 or len(shape) == MAX_RANK or any(type(leaf) is not list or len(leaf) != size for leaf in leaves):
            return (), None
        shape.append(size)
        leaves = [item for leaf in leaves for item in leaf]
    return tuple(shape), leaves


def _datatype_of(leaves: Sequence[Any]) -> str | None:
    kinds = set(map(type, leaves))
    if kinds == {bool}:
        return "BOOL"
    if kinds == {str}:
        return BYTES
    if kinds == {int}:
        return _datatype_of_integers(min(leaves), max(leaves))
    return "FP64" if kinds <= NUMBERS else None


def _datatype_of_integers(low: int, high: int) -> str | None:
    if low >= _MIN_I64 and high <= _MAX_I64:
        return "INT64"
    return "UINT64" if low >= 0 and high <= _MAX_U64 else None
