"""Between a batch of flat rows and the tensors of a framework, and back to one output per row."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clipper_container.flavors._contract import LoadContext, NotLoadable
from clipper_container.flavors._frameworks import NUMBERS

ANY = -1
"""A dimension that the model leaves open."""


class Layout(NamedTuple):
    """What a model's one input looks like: numpy's type, the shape of one row, and the batch where it is fixed."""

    dtype: str
    row_shape: tuple[int, ...]
    batch_size: int | None = None

    @property
    def width(self) -> int | None:
        """The numbers in a row; None where the model leaves that open."""
        return None if ANY in self.row_shape else math.prod(self.row_shape)

    def tensor(self, batch: Any) -> npt.NDArray[Any]:
        """The batch as the model takes it.

        Raises:
            ValueError: Rows of another width, or fractions for a model that takes whole numbers.
        """
        array = np.asarray(batch, dtype=object) if self.dtype == "str" else converted(batch, np.dtype(self.dtype))
        return array.reshape(len(array), *self.row_shape)


def converted(batch: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The numbers as ``dtype``.

    Raises:
        ValueError: A fraction came where whole numbers are taken, or a number that their type cannot hold.
    """
    with np.errstate(invalid="ignore"):  # what is out of range is told below
        array = batch.astype(dtype, copy=False)
    if dtype.kind in "iub" and not np.can_cast(batch.dtype, dtype) and not (array == batch).all():
        fault = "a fraction" if batch.dtype.kind == "f" and (batch % 1).any() else "a number out of their range"
        raise ValueError(f"the model takes whole numbers ({dtype}), and {fault} came")
    return array


def layout_of(shape: list[int | None], dtype: str, context: LoadContext) -> Layout:
    """The layout of an input of this shape (None: open), the batch first; the manifest fills in what is open.

    Raises:
        NotLoadable: The input has no dimension for the batch, takes no numbers where those are served, or leaves more
            open than a flat row can tell.
    """
    if not shape:
        raise NotLoadable(
            "The model's input is a single value without a batch dimension: "
            "save a model whose input has the shape (batch, ...)."
        )
    if (dtype == "str") != (context.input_type == "strings") or context.input_type not in {*NUMBERS, "strings"}:
        takes = "strings" if dtype == "str" else f"numbers ({dtype})"
        raise NotLoadable(
            f"The model takes {takes}, and it was deployed with the input type '{context.input_type}': "
            f"deploy it with {'strings' if dtype == 'str' else 'doubles, floats or integers'}."
        )
    row_shape = tuple(ANY if size is None else size for size in shape[1:])
    known = context.manifest.input_shape
    if ANY in row_shape and known is not None and _fits(tuple(known), row_shape):
        row_shape = tuple(known)
    if row_shape.count(ANY) > 1:
        shown = ", ".join("?" if size == ANY else str(size) for size in row_shape)
        raise NotLoadable(
            f"The model leaves more than one dimension of a row ({shown}) open, and a row comes flat: "
            "say what shape it has by deploying the model with an example_input of that shape."
        )
    return Layout(dtype, row_shape, shape[0])


def _fits(known: tuple[int, ...], row_shape: tuple[int, ...]) -> bool:
    return len(known) == len(row_shape) and all(b in {ANY, a} for a, b in zip(known, row_shape, strict=True))


def in_batches_of(size: int | None, predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``predict`` of a model whose batch was fixed when it was saved: called with exactly ``size`` rows each time.

    The last call is filled up with its own last row. ``predict`` takes an array and returns arrays.
    """
    if size is None:
        return predict

    def in_pieces(batch: npt.NDArray[Any]) -> Any:
        pieces = [predict(piece) for piece in _pieces(batch, size)]
        return joined(pieces, len(batch))

    return in_pieces


def _pieces(batch: npt.NDArray[Any], size: int) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(batch), size):
        piece = batch[start : start + size]
        lacking = size - len(piece)
        yield np.concatenate([piece, np.repeat(piece[-1:], lacking, axis=0)]) if lacking else piece


def joined(pieces: list[Any], count: int) -> Any:
    """The first ``count`` rows of what several calls returned: arrays, or several of them in mappings or sequences."""
    first = pieces[0]
    if isinstance(first, Mapping):
        return {name: joined([piece[name] for piece in pieces], count) for name in first}
    if isinstance(first, list | tuple):
        return [joined([piece[i] for piece in pieces], count) for i in range(len(first))]
    return np.concatenate(pieces)[:count]


def per_row(outputs: Any) -> Any:
    """One output per row: a number where a row's output is a single one, else lists; several outputs by their names.

    Args:
        outputs: An array whose first dimension is the batch; or several of them, in a mapping or a sequence.
    """
    if isinstance(outputs, Mapping):
        if len(outputs) == 1:
            return per_row(next(iter(outputs.values())))
        columns = [_plain(per_row(column)) for column in outputs.values()]
        return [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(outputs, list | tuple):
        if len(outputs) == 1:
            return per_row(outputs[0])
        return [list(row) for row in zip(*(_plain(per_row(column)) for column in outputs), strict=True)]
    array = np.asarray(outputs)
    if array.ndim > 1 and array.size == len(array):
        array = array.reshape(len(array))
    return [_text(value) for value in array.tolist()] if array.dtype.kind in "OS" else array


def _plain(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return [_text(part) for part in value] if isinstance(value, list) else value
