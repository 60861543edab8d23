"""A batch's rows as what a model takes: a 2-D array for numbers, a list for everything else."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from clipper_container.wire import NUMBER_BYTES, BatchView

DTYPES: dict[str, str] = {"doubles": "<f8", "floats": "<f4", "integers": "<i4"}

_DECODERS: dict[str, Callable[[memoryview], Any]] = {
    "strings": lambda row: str(row, "utf-8"),
    "bytes": bytes,
    "json": msgspec.json.decode,
}


class Rows(Protocol):
    """The rows of one batch. What ``whole`` and ``take`` return is the model's own: it may write to it."""

    def groups(self) -> list[list[int]]:
        """Indexes of rows that may go to the model together, group by group."""

    def whole(self) -> Any:
        """All rows at once; only if there is one group, and before any ``take``."""

    def take(self, indexes: Sequence[int]) -> Any:
        """Some rows of one group, as they came, whatever the model did to earlier ones."""


def rows_of(view: BatchView) -> Rows:
    """The rows that ``view`` holds."""
    if view.input_type not in DTYPES:
        return ObjectRows(view)
    return RaggedRows(view) if view.row_bytes is None else EvenRows(view, view.row_bytes)


class EvenRows:
    """Numbers, rows of one width: the receive buffer itself becomes the array (count, width)."""

    def __init__(self, view: BatchView, row_bytes: int) -> None:
        self._view = view
        self._shape = (view.row_count, row_bytes // NUMBER_BYTES[view.input_type])
        self._source: bytes | memoryview = view.rows

    def groups(self) -> list[list[int]]:
        """All rows."""
        return [list(range(self._view.row_count))]

    def whole(self) -> npt.NDArray[Any]:
        """The receive buffer as an array."""
        # One plain copy of the batch (9 us for 64 rows of 784 doubles): should the model write to its input and then
        # raise, the rows that run again have to be the ones that came.
        self._source = bytes(self._view.rows)
        return self._array(self._view.rows)

    def take(self, indexes: Sequence[int]) -> npt.NDArray[Any]:
        """A copy of those rows."""
        rows: npt.NDArray[Any] = self._array(self._source)[list(indexes)]
        return rows

    def _array(self, source: bytes | memoryview) -> npt.NDArray[Any]:
        return np.frombuffer(source, DTYPES[self._view.input_type]).reshape(self._shape)


class Slices:
    """Rows of any length, cut out of the batch."""

    def __init__(self, view: BatchView) -> None:
        self._view = view
        self._lengths = view.lengths or (view.row_bytes or 0,) * view.row_count
        self._ends = list(accumulate(self._lengths))

    def _row(self, index: int) -> memoryview:
        return self._view.rows[self._ends[index] - self._lengths[index] : self._ends[index]]


class RaggedRows(Slices):
    """Numbers, rows of several widths: grouped, so that the model always gets a 2-D array."""

    def groups(self) -> list[list[int]]:
        """The rows of each width, in the order in which the widths first come."""
        by_length: dict[int, list[int]] = {}
        for index, length in enumerate(self._lengths):
            by_length.setdefault(length, []).append(index)
        return list(by_length.values())

    def whole(self) -> npt.NDArray[Any]:
        """All rows, if they have one width."""
        return self.take(range(self._view.row_count))

    def take(self, indexes: Sequence[int]) -> npt.NDArray[Any]:
        """A copy of those rows, which have one width."""
        data = bytearray().join(self._row(index) for index in indexes)
        width = self._lengths[indexes[0]] // NUMBER_BYTES[self._view.input_type]
        return np.frombuffer(data, DTYPES[self._view.input_type]).reshape(len(indexes), width)


class ObjectRows(Slices):
    """Strings, bytes or JSON: a list with one object per row, decoded anew each time."""

    def groups(self) -> list[list[int]]:
        """All rows."""
        return [list(range(self._view.row_count))]

    def whole(self) -> list[Any]:
        """All rows, decoded."""
        return self.take(range(self._view.row_count))

    def take(self, indexes: Sequence[int]) -> list[Any]:
        """Those rows, decoded."""
        decode = _DECODERS[self._view.input_type]
        return [decode(self._row(index)) for index in indexes]
