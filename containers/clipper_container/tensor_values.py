"""Tensors from plain values: nested lists as JSON has them, or arrays; and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clipper_container.layout import Layout
from clipper_container.tensors import BYTES, DATATYPES, FREE, Described, MalformedTensor, join_elements

Array = npt.NDArray[Any]

_NUMBERS: frozenset[type] = frozenset({int, float})
_BOOLEANS: frozenset[type] = frozenset({bool})
_MAX_SHOWN_CHARS = 40


def encode_tensors(layout: Layout, value: Any) -> bytes:
    """The row of one query: the tensor itself where there is one, or a mapping of tensors by name.

    Raises:
        MalformedTensor: ``value`` is not what the layout says.
    """
    specs = layout.tensors
    if isinstance(value, Mapping):
        names = [spec.name for spec in specs]
        if value.keys() != set(names):
            takes = ", ".join(names) if names != [""] else "one tensor, which has no name"
            raise MalformedTensor(f"takes {takes}; {', '.join(map(str, value)) or 'an empty object'} came")
        values = [value[name] for name in names]
    elif len(specs) == 1:
        values = [value]
    else:
        names_shown = ", ".join(spec.name for spec in specs)
        raise MalformedTensor(f"must be an object with the tensors {names_shown}, got {shown(value)}")
    pairs = [_encoded(spec, part) for spec, part in zip(specs, values, strict=True)]
    return layout.row([sizes for sizes, _ in pairs], [data for _, data in pairs])


def decode_tensors(layout: Layout, row: bytes) -> Any:
    """What `encode_tensors` takes, as nested lists: bytes that are no UTF-8 stay bytes."""
    tensors = layout.split(row)
    plain = [
        tensor.tolist() if isinstance(tensor, np.ndarray) else _nested([_text(e) for e in tensor], sizes)
        for tensor, sizes in zip(tensors, layout.shapes_of(row), strict=True)
    ]
    return plain[0] if layout.is_single else dict(zip((spec.name for spec in layout.tensors), plain, strict=True))


def _text(element: bytes) -> str | bytes:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return element


def _nested(elements: list[Any], sizes: Sequence[int]) -> Any:
    for size in reversed(sizes[1:]):
        elements = [elements[at : at + size] for at in range(0, len(elements), size)]
    return elements if sizes else elements[0]


def _encoded(spec: Described, value: Any) -> tuple[Sequence[int], bytes]:
    """The sizes and the bytes of one tensor."""
    try:
        if isinstance(value, np.ndarray) and spec.datatype != BYTES and value.dtype == DATATYPES[spec.datatype]:
            _check_sizes(value.shape, spec.shape)
            return value.shape, _checked(value).tobytes()
        plain = value.tolist() if hasattr(value, "tolist") else value
        sizes, leaves = unnested(plain, spec.shape)
        elements = elements_of(leaves, spec.datatype)
    except MalformedTensor as fault:
        raise MalformedTensor(f"{spec.name}: {fault}" if spec.name else str(fault)) from None
    return sizes, join_elements(elements) if isinstance(elements, list) else elements.tobytes()


def _check_sizes(came: Sequence[int], wanted: Sequence[int]) -> None:
    fits = len(came) == len(wanted) and all(
        (want == FREE and size > 0) or want == size for want, size in zip(wanted, came, strict=True)
    )
    if not fits:
        raise MalformedTensor(f"must have the shape {list(wanted)}, got {list(came)}")


def unnested(value: Any, wanted: Sequence[int]) -> tuple[tuple[int, ...], list[Any]]:
    """The sizes of nested lists, and their elements in order; `FREE` sizes are those of the first list.

    Raises:
        MalformedTensor: They are not nested as ``wanted`` says.
    """
    sizes: list[int] = []
    level = [value]
    for want in wanted:
        first = level[0]
        size = len(first) if want == FREE and isinstance(first, list | tuple) else want
        for item in level:
            if not isinstance(item, list | tuple) or len(item) != size or not size:
                came = f"a list of {len(item)}" if isinstance(item, list | tuple) else shown(item)
                expected = f"a list of {size}" if size > 0 else "a list that is not empty"
                raise MalformedTensor(f"must have the shape {list(wanted)}: {expected} was expected, {came} came")
        sizes.append(size)
        level = [inner for item in level for inner in item]
    return tuple(sizes), level


def elements_of(leaves: Sequence[Any], datatype: str) -> Array | list[bytes]:
    """The elements as a flat array of ``datatype``, or as a list of bytes.

    Whole numbers may be written as 3.0; numbers out of the datatype's range are refused, and so are NaN and Infinity.

    Raises:
        MalformedTensor: An element is of another kind, or out of range.
    """
    if datatype == BYTES:
        return [_bytes(leaf, i) for i, leaf in enumerate(leaves)]
    if datatype == "BOOL":
        _check_types(leaves, _BOOLEANS, "true or false")
        return np.array(leaves, DATATYPES[datatype])
    _check_types(leaves, _NUMBERS, "a number")
    dtype = np.dtype(DATATYPES[datatype])
    if dtype.kind == "f":
        return narrowed(np.array([_float(leaf, i) for i, leaf in enumerate(leaves)], "<f8"), datatype)
    low, high = _range(datatype)
    for i, leaf in enumerate(leaves):
        if not (low <= leaf <= high and leaf == int(leaf)):
            raise _out_of_range(i, datatype, leaf)
    return np.array([int(leaf) for leaf in leaves], dtype)


def narrowed(values: Array, datatype: str) -> Array:
    """Flat values as ``datatype``, from a wider type of its kind.

    Raises:
        MalformedTensor: One of them is out of range, or not finite.
    """
    dtype = np.dtype(DATATYPES[datatype])
    if values.dtype == dtype:
        return _checked(values)
    low, high = _range(datatype)
    right = (values >= low) & (values <= high)  # false for NaN too
    if not right.all():
        i = int(np.argmin(right))
        raise _out_of_range(i, datatype, values[i].item())
    return values.astype(dtype)


def _checked(values: Array) -> Array:
    if values.dtype.kind == "b" and values.size and np.ascontiguousarray(values).view("u1").max() > 1:
        raise MalformedTensor("must have booleans of 0 or 1; another byte came")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise MalformedTensor("must have finite numbers; NaN or Infinity came")
    return values


def _check_types(leaves: Sequence[Any], types: frozenset[type], expected: str) -> None:
    if not set(map(type, leaves)) <= types:
        i = next(i for i, leaf in enumerate(leaves) if type(leaf) not in types)
        raise MalformedTensor(f"must have {expected} at [{i}], got {shown(leaves[i])}")


def _bytes(leaf: Any, index: int) -> bytes:
    if isinstance(leaf, bytes):
        return leaf
    if not isinstance(leaf, str):
        raise MalformedTensor(f"must have a string at [{index}], got {shown(leaf)}")
    try:
        return leaf.encode()
    except UnicodeEncodeError:
        raise MalformedTensor(f"has a lone surrogate at [{index}]") from None


def _float(leaf: float, index: int) -> float:
    try:
        return float(leaf)
    except OverflowError:
        raise MalformedTensor(f"has a number at [{index}] that no 64-bit float can hold") from None


def _range(datatype: str) -> tuple[float, float]:
    dtype = np.dtype(DATATYPES[datatype])
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        return -largest, largest
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _out_of_range(index: int, datatype: str, value: Any) -> MalformedTensor:
    low, high = _range(datatype)
    kind = "a number" if np.dtype(DATATYPES[datatype]).kind == "f" else "a whole number"
    return MalformedTensor(f"must have {kind} from {low:g} to {high:g} at [{index}] ({datatype}), got {shown(value)}")


def shown(value: Any) -> str:
    """``value`` for a sentence, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."
