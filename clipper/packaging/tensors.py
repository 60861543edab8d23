"""What a saved tensor program takes and returns, in the words of manifests."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from clipper.domain import InputType
from clipper.manifest import OutputKind
from clipper.tensors import Tensor as Described
from clipper.tensors import parse_tensors
from clipper_container.tensors import BYTES, DATATYPES, FREE

OPEN = None
"""A dimension that the model leaves open."""

_DATATYPES: Mapping[str, Any] = {np.dtype(kind).name: name for name, kind in DATATYPES.items()} | {
    "str": BYTES,
    "bfloat16": "FP32",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or an output: numpy's name of its type (``str`` for text), and its shape with the batch first."""

    dtype: str
    shape: tuple[int | None, ...]

    @property
    def input_type(self) -> InputType:
        """The input type that loses nothing."""
        if self.dtype == "str":
            return "strings"
        if self.dtype == "float64":
            return "doubles"
        return "floats" if "float" in self.dtype else "integers"

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        """The shape of one row, where it is fixed."""
        sizes = [size for size in self.shape[1:] if size is not None]
        return tuple(sizes) if len(sizes) == len(self.shape) - 1 else None

    @property
    def width(self) -> int | None:
        """How many numbers a row has, where that is fixed; a row of text has none."""
        return None if self.row_shape is None or self.dtype == "str" else math.prod(self.row_shape)


def described(tensors: Iterable[tuple[str, Tensor | None]]) -> tuple[Described, ...]:
    """The tensors, by name, as a definition has them; nothing where it cannot have them: without a batch or a size.

    Models have more tensors, longer names and more dimensions than definitions take; they are served all the same.
    """
    found = []
    for name, tensor in tensors:
        if tensor is None or not tensor.shape or 0 in tensor.shape[1:] or tensor.dtype not in _DATATYPES:
            return ()
        sizes = tuple(FREE if size is OPEN else size for size in tensor.shape[1:])
        found.append({"name": name, "datatype": _DATATYPES[tensor.dtype], "shape": sizes})
    try:
        return parse_tensors(found)
    except ValidationError:
        return ()


def kind_of(shape: Sequence[int | None]) -> OutputKind:
    """What a row of an output with this shape (the batch first) is answered as."""
    sizes = shape[1:]
    if not sizes or all(size == 1 for size in sizes):
        return "number"
    return "scores" if len(sizes) == 1 else "json"
