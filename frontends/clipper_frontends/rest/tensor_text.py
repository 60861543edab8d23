"""The JSON text of a query's tensors to its row.

As with flat numbers, simdjson reads a tensor of fixed sizes into a buffer in a third of the time that objects take (33
us for 28 x 28, not 105). Its ``as_buffer`` flattens nested lists without a look at their lengths: that they are nested
as the sizes say is read off the text, whose brackets and commas alone are compared with what the sizes make. All else
takes the general way, which also finds the words for what is wrong.
"""

import math
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from clipper.inputs import encode_input
from clipper_container.layout import Layout
from clipper_container.tensor_values import narrowed
from clipper_container.tensors import BYTES, DATATYPES, FREE, Described

_LITTLE_ENDIAN = sys.byteorder == "little"
_BUFFERS = {"f": ("d", "<f8"), "i": ("i", "<i8"), "u": ("u", "<u8")}
"""Kinds of numpy's types: what simdjson calls their widest, and what numpy does."""
_ALL_BUT_STRUCTURE = bytes(set(range(256)) - set(b"[],"))
_MAX_STRUCTURE_BYTES = 1 << 20

_parts_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class TensorText:
    """Reads tensors with a parser that somebody else owns."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def row(self, text: bytes, layout: Layout, field: str) -> bytes | None:
        """The row; None where the general way has to look at ``text``.

        Raises:
            InvalidInput: It is not what the layout says.
        """
        if layout.is_single:
            array = self._array(text, layout.tensors[0])
            return None if array is None else encode_input("tensors", array, field=field, layout=layout)
        if not text.startswith(b"{"):
            return None
        try:
            parts = _parts_of(text)
            values = {name: self._value(bytes(part), layout, name) for name, part in parts.items()}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return encode_input("tensors", values, field=field, layout=layout)

    def _value(self, text: bytes, layout: Layout, name: str) -> Any:
        spec = next((tensor for tensor in layout.tensors if tensor.name == name), None)
        array = None if spec is None else self._array(text, spec)
        return msgspec.json.decode(text) if array is None else array

    def _array(self, text: bytes, spec: Described) -> Any:
        sizes = tuple(spec.shape)
        if not sizes or FREE in sizes or spec.datatype in {BYTES, "BOOL"} or not _LITTLE_ENDIAN:
            return None
        structure = _structure(sizes)
        if structure is None or text.translate(None, _ALL_BUT_STRUCTURE) != structure:
            return None
        kind, wide = _BUFFERS[np.dtype(DATATYPES[spec.datatype]).kind]
        try:
            values = np.frombuffer(bytes(self._parser.parse(text).as_buffer(of_type=kind)), wide)
            if len(values) == math.prod(sizes):
                return narrowed(values, spec.datatype).reshape(sizes)
        except (ValueError, TypeError, RuntimeError, AttributeError):  # out of range; text or an object, no list
            pass
        return None


@lru_cache(maxsize=1024)
def _structure(sizes: Sequence[int]) -> bytes | None:
    """The brackets and commas of lists that are nested so; None where they are too many to keep."""
    if 3 * math.prod(sizes) > _MAX_STRUCTURE_BYTES:
        return None
    text = b""
    for size in reversed(sizes):
        text = b"[%b]" % b",".join([text] * size)
    return text
