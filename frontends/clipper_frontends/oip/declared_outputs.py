"""Answers as the tensors that a definition says they are."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from clipper.errors import ModelError
from clipper.tensors import Tensor
from clipper_container.tensors import BYTES, DATATYPES, FREE
from clipper_frontends.oip.outputs import NUMBERS, OutputTensor, unnested

_LEAVES_OF_KIND: Mapping[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": NUMBERS,
}


def declared_outputs(values: Sequence[Any], specs: Sequence[Tensor], nameless: str) -> list[OutputTensor]:
    """The tensors that a definition says there are; ``nameless`` is what a single one without a name is called.

    Raises:
        ModelError: An answer has not these outputs, or one has another shape or values that its datatype cannot hold.
    """
    if len(specs) == 1:
        name = specs[0].name
        return [_declared(specs[0], [_only(value, name) for value in values], name or nameless)]
    return [_declared(spec, [_part(value, spec.name) for value in values], spec.name) for spec in specs]


def _only(value: Any, name: str) -> Any:
    """The one output, which may come without its name."""
    return value[name] if isinstance(value, dict) and name in value else value


def _part(value: Any, name: str) -> Any:
    if isinstance(value, dict) and name in value:
        return value[name]
    came = f"an object with {', '.join(value)}" if isinstance(value, dict) else f"a {type(value).__name__}"
    raise ModelError(f"The output '{name}' is missing in what the model returned, {came}.")


def _declared(spec: Tensor, values: list[Any], name: str) -> OutputTensor:
    shape, leaves = unnested(values)
    if leaves is None or not _fits(shape[1:], spec.shape):
        came = list(shape[1:]) if leaves is not None else "lists of several lengths"
        raise ModelError(
            f"The output '{name}' must have the shape {list(spec.shape)} for each query; the model returned {came}."
        )
    # A row's single value may have come with fewer dimensions, or more; a free size is 1 then.
    whole = shape if len(shape) == len(spec.shape) + 1 else (len(values), *(abs(size) for size in spec.shape))
    return OutputTensor(name, spec.datatype, whole, _elements(spec.datatype, leaves, whole, name))


def _fits(sizes: Sequence[int], wanted: Sequence[int]) -> bool:
    """Runtimes give a row's single value as a number, whatever its shape was: every size is 1 then."""
    if math.prod(sizes) == 1 and all(want in (FREE, 1) for want in wanted):
        return True
    return len(sizes) == len(wanted) and all(want in (FREE, size) for want, size in zip(wanted, sizes, strict=True))


def _elements(datatype: str, leaves: list[Any], shape: tuple[int, ...], name: str) -> Any:
    if datatype == BYTES:
        return [leaf.encode() if isinstance(leaf, str) else msgspec.json.encode(leaf) for leaf in leaves]
    dtype = np.dtype(DATATYPES[datatype])
    try:
        if set(map(type, leaves)) <= _LEAVES_OF_KIND[dtype.kind]:
            with np.errstate(over="raise"):
                return np.array(np.array(leaves) if dtype.kind == "f" else leaves, dtype).reshape(shape)
    except (OverflowError, FloatingPointError):
        pass
    raise ModelError(f"The output '{name}' has values that are not {datatype}.")
