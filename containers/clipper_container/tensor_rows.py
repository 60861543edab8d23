"""A batch's rows as the tensors that a model takes: one array each, the batch first."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clipper_container.layout import Layout
from clipper_container.rows import Rows, Slices
from clipper_container.tensors import BYTES, DATATYPES
from clipper_container.wire import BatchView

Array = npt.NDArray[Any]
Tensors = Array | dict[str, Array]
"""What the model gets: the array itself where there is one and it has no name."""


def tensor_rows_of(view: BatchView, layout: Layout) -> Rows:
    """The rows that ``view`` holds, which the frontend has encoded by the same layout."""
    if layout.row_bytes is not None and view.row_bytes == layout.row_bytes:
        return FixedTensorRows(view, layout)
    return TensorRows(view, layout)


class FixedTensorRows:
    """Every row has the same shapes: no row is looked at."""

    def __init__(self, view: BatchView, layout: Layout) -> None:
        self._view = view
        self._layout = layout
        self._source: bytes | memoryview = view.rows

    def groups(self) -> list[list[int]]:
        """All rows."""
        return [list(range(self._view.row_count))]

    def whole(self) -> Tensors:
        """One tensor is the receive buffer itself; each of several is copied out of it, for the whole batch at once."""
        # One plain copy of the batch: should the model write to its input and then raise, the rows that run again
        # have to be the ones that came.
        self._source = bytes(self._view.rows)
        return self._tensors(self._view.rows, self._view.row_count)

    def take(self, indexes: Sequence[int]) -> Tensors:
        """A copy of those rows."""
        rows = np.frombuffer(self._source, np.uint8).reshape(self._view.row_count, -1)[list(indexes)]
        return self._tensors(rows.data.cast("B"), len(indexes))

    def _tensors(self, rows: bytes | memoryview, count: int) -> Tensors:
        shapes = [tuple(tensor.shape) for tensor in self._layout.tensors]
        return _by_name(self._layout, _strided(rows, count, self._layout, shapes))


class TensorRows(Slices):
    """Rows whose shapes differ, or that have elements of BYTES: grouped by their shapes."""

    def __init__(self, view: BatchView, layout: Layout) -> None:
        super().__init__(view)
        self._layout = layout
        self._has_bytes = any(tensor.datatype == BYTES for tensor in layout.tensors)

    def groups(self) -> list[list[int]]:
        """The rows of the same shapes, in the order in which these first come."""
        by_head: dict[bytes, list[int]] = {}
        for index in range(self._view.row_count):
            head = bytes(self._row(index)[: self._layout.head_bytes])
            by_head.setdefault(head, []).append(index)
        return list(by_head.values())

    def whole(self) -> Tensors:
        """All rows, if they have the same shapes."""
        return self.take(range(self._view.row_count))

    def take(self, indexes: Sequence[int]) -> Tensors:
        """A copy of those rows, which have the same shapes."""
        shapes = self._layout.shapes_of(self._row(indexes[0]))
        if self._has_bytes:
            return _by_name(self._layout, self._stacked(indexes, shapes))
        rows = bytearray().join(self._row(index) for index in indexes)
        return _by_name(self._layout, _strided(rows, len(indexes), self._layout, shapes))

    def _stacked(self, indexes: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> list[Array]:
        """Each row taken apart: where its elements lie depends on the lengths of those before them."""
        columns = zip(*(self._layout.split(self._row(index)) for index in indexes), strict=True)
        return [_column(column, shape) for column, shape in zip(columns, shapes, strict=True)]


def _column(parts: Sequence[Any], shape: tuple[int, ...]) -> Array:
    if isinstance(parts[0], np.ndarray):
        return np.stack(parts)
    array = np.empty(len(parts) * math.prod(shape), object)
    array[:] = [element for part in parts for element in part]
    return array.reshape(len(parts), *shape)


def _strided(
    rows: bytes | bytearray | memoryview, count: int, layout: Layout, shapes: Sequence[tuple[int, ...]]
) -> list[Array]:
    """The tensors of rows of one length that lie back to back."""
    row_bytes, at = len(rows) // count, layout.head_bytes
    tensors: list[Array] = []
    for index, shape in enumerate(shapes):
        dtype = np.dtype(DATATYPES[layout.tensors[index].datatype])
        inner = np.empty(shape, dtype).strides if shape else ()
        tensor: Array = np.ndarray((count, *shape), dtype, rows, at, (row_bytes, *inner))
        tensors.append(np.require(tensor, requirements=("C", "A")))  # as it is where it is the only one
        at += layout.tensor_bytes(index, shape)
    return tensors


def _by_name(layout: Layout, tensors: Sequence[Array]) -> Tensors:
    if layout.is_single:
        return tensors[0]
    return dict(zip((tensor.name for tensor in layout.tensors), tensors, strict=True))
