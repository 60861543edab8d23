"""Numbers as they travel: as memory, which costs a fraction of their text on both sides.

numpy is never imported here: whoever hands an array has it.
"""

import sys
from array import array
from typing import Any, NamedTuple

DATATYPES = {
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
    """An array: what it is, and its elements row-major and little-endian."""

    description: dict[str, Any]
    data: bytes


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array whose memory is all that it means: of subclasses a masked one has holes."""
    kind = type(x)
    return kind.__module__ == "numpy" and kind.__name__ in {"ndarray", "memmap"}


def memory_of(x: Any) -> Memory | None:
    """An array of numbers, or a long list of nothing but floats, as memory; None for everything else."""
    if type(x) is list:
        return _memory_of_floats(x)
    if not is_array(x):
        return None
    datatype = DATATYPES.get(x.dtype.str[1:])
    if datatype is None or not x.ndim or not x.size:
        return None
    if x.dtype.str[0] == ">":
        x = x.astype(x.dtype.newbyteorder("<"))
    return Memory({"datatype": datatype, "shape": list(x.shape)}, x.tobytes())


def _memory_of_floats(x: list[Any]) -> Memory | None:
    if len(x) < MIN_FLOATS or sys.byteorder != "little" or set(map(type, x)) != {float}:
        return None
    return Memory({"datatype": "FP64", "shape": [len(x)]}, array("d", x).tobytes())
