"""numpy arrays as they travel: their memory as it is. numpy is never imported here; whoever hands an array has it."""

from typing import Any, NamedTuple

DATATYPES = {
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""By numpy's names, what the Open Inference Protocol calls them."""


class Memory(NamedTuple):
    """An array: what it is, and its elements row-major and little-endian."""

    description: dict[str, Any]
    data: bytes


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array whose memory is all that it means: of subclasses a masked one has holes."""
    kind = type(x)
    return kind.__module__ == "numpy" and kind.__name__ in {"ndarray", "memmap"}


def memory_of(x: Any) -> Memory | None:
    """An array of numbers as memory; None for everything else, which goes as JSON."""
    if not is_array(x):
        return None
    datatype = DATATYPES.get(x.dtype.name)
    if datatype is None or not x.ndim or not x.size:
        return None
    little_endian = x.astype(x.dtype.newbyteorder("<"), copy=False)
    return Memory({"datatype": datatype, "shape": list(x.shape)}, little_endian.tobytes())
