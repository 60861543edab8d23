"""From the tensors of a request to rows of tensors, where a definition says which there are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clipper.errors import InvalidInput
from clipper_container.layout import Layout
from clipper_container.tensors import BYTES, DATATYPES, FREE, Described, join_elements
from clipper_frontends.oip.checks import check_batch, check_finite, refuse_first

if TYPE_CHECKING:
    from clipper_frontends.oip.request import InferTensor


def rows_of_tensors(inputs: Sequence["InferTensor"], layout: Layout, model: str) -> list[bytes]:
    """The rows of a request for ``model``, whose rows have this layout.

    Each value is looked at once and copied once, into its row.

    Raises:
        InvalidInput: The tensors are not those of the layout.
    """
    specs = layout.tensors
    ordered = _in_order(inputs, specs, model)
    count = ordered[0].shape[0]
    for tensor, spec in zip(ordered, specs, strict=True):
        _check_against(tensor, spec, count)
    check_batch(count)
    shapes = [tensor.shape[1:] for tensor in ordered]
    parts = [_cut(tensor, count) for tensor in ordered]
    return [layout.row(shapes, [part[i] for part in parts]) for i in range(count)]


def _in_order(inputs: Sequence["InferTensor"], specs: Sequence[Described], model: str) -> list["InferTensor"]:
    """The tensors as the definition has them. One that is the only one may be called anything."""
    if len(inputs) == len(specs) == 1 and not specs[0].name:
        return list(inputs)
    by_name = {tensor.name: tensor for tensor in inputs}
    expected = [spec.name for spec in specs]
    if len(by_name) != len(inputs) or by_name.keys() != set(expected):
        came = ", ".join(tensor.name for tensor in inputs) or "none"
        raise InvalidInput(f"Model '{model}' takes the inputs {', '.join(expected)}; got {came}.")
    return [by_name[name] for name in expected]


def _check_against(tensor: "InferTensor", spec: Described, count: int) -> None:
    if tensor.datatype != spec.datatype:
        raise InvalidInput(f"Input '{tensor.name}' must have the datatype {spec.datatype}, got {tensor.datatype}.")
    sizes = tensor.shape[1:]
    fits = len(sizes) == len(spec.shape) and all(
        want in (FREE, size) for want, size in zip(spec.shape, sizes, strict=True)
    )
    if not fits:
        raise InvalidInput(
            f"Input '{tensor.name}' must have the shape {[FREE, *spec.shape]} (the batch first, -1 is any size), got "
            f"{list(tensor.shape)}."
        )
    if tensor.shape[0] != count:
        raise InvalidInput(
            f"The inputs must have the same first dimension, the batch; input '{tensor.name}' has {tensor.shape[0]} "
            f"where another has {count}."
        )


def _cut(tensor: "InferTensor", count: int) -> list[Any]:
    """The bytes of each query's part."""
    if tensor.datatype == BYTES:
        elements: list[bytes] = tensor.data
        size = len(elements) // count
        return [join_elements(elements[i * size : (i + 1) * size]) for i in range(count)]
    values = np.frombuffer(tensor.data, DATATYPES[tensor.datatype])
    check_finite(values, tensor)
    if tensor.datatype == "BOOL":
        numbers = np.frombuffer(tensor.data, np.uint8)
        refuse_first(numbers, numbers > 1, tensor, "0 or 1")
    view = memoryview(tensor.data).cast("B")
    size = len(view) // count
    return [view[i * size : (i + 1) * size] for i in range(count)]
