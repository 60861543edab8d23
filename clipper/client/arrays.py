"""Numbers as they travel: as memory, which costs a fraction of their text on both sides.

numpy is never imported here: whoever hands an array has it.
"""

import sys
from array import array
from typing import Any, NamedTuple

from clipper.errors import InvalidInput

DATATYPES = {
    "b1": "BOOL",
    "i1": "INT8",
    "i2": "INT16",
    "i4": "INT32",
    "i8": "INT64",
    "u1": "UINT8",
    "u2": "UINT16",
    "u4": "UINT32",
    "u8": "UINT64",
    "f2": "FP16",
    "f4": "FP32",
    "f8": "FP64",
}
"""By numpy's letters for them (``dtype.str``), what the Open Inference Protocol calls them."""


MIN_FLOATS = 32
"""Shorter lists gain nothing, and are easier to read on the wire as text."""


class Memory(NamedTuple):
    """An array, or several by name: what they are, and their elements row-major and little-endian, back to back."""

    description: dict[str, Any]
    data: bytes


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array whose memory is all that it means: of subclasses a masked one has holes."""
    kind = type(x)
    return kind.__module__ == "numpy" and kind.__name__ in {"ndarray", "memmap"}


def memory_of(x: Any) -> Memory | None:
    """An array of numbers, a dict of nothing but them, or a long list of nothing but floats; None for all else."""
    if type(x) is list:
        return _memory_of_floats(x)
    if type(x) is dict:
        return _memory_of_several(x)
    return array_memory(x) if is_array(x) and x.ndim else None


def array_memory(x: Any) -> Memory | None:
    """An array as memory, where its elements are numbers or booleans and there are some."""
    datatype = DATATYPES.get(x.dtype.str[1:])
    if datatype is None or not x.size:
        return None
    if x.dtype.str[0] == ">":
        x = x.astype(x.dtype.newbyteorder("<"))
    return Memory({"datatype": datatype, "shape": list(x.shape)}, x.tobytes())


def _memory_of_several(x: dict[Any, Any]) -> Memory | None:
    if not x or not all(type(name) is str and is_array(part) for name, part in x.items()):
        return None
    parts = {name: array_memory(part) for name, part in x.items()}
    memories = [memory for memory in parts.values() if memory is not None]
    if len(memories) < len(parts):
        return None
    descriptions = {name: memory.description for name, memory in zip(parts, memories, strict=True)}
    return Memory(descriptions, b"".join(memory.data for memory in memories))


def rows_of(xs: Any) -> Any:
    """The inputs of a batch that is written as columns: a dict of arrays by name, the batch first; others as they are.

    Raises:
        InvalidInput: The columns have not the same length.
    """
    if type(xs) is not dict:
        return xs
    lengths = {name: len(column) for name, column in xs.items()}
    if len(set(lengths.values())) != 1:
        came = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidInput(f"The arrays of a batch must have the same number of rows; {came}.")
    return [dict(zip(xs, row, strict=True)) for row in zip(*xs.values(), strict=True)]


def _memory_of_floats(x: list[Any]) -> Memory | None:
    if len(x) < MIN_FLOATS or sys.byteorder != "little" or set(map(type, x)) != {float}:
        return None
    return Memory({"datatype": "FP64", "shape": [len(x)]}, array("d", x).tobytes())
