"""The ``data`` of a tensor in JSON: flat or nested lists, to what its binary form would have been.

The row of a request must not depend on its form: what comes out of here is what `tensor_of_bytes` would have been
given. Numbers are the cost, and simdjson reads them four times faster than a general parser does; it flattens nested
lists without a look at their lengths, though, so it gets only what cannot be ragged. The general way finds the words
for what is wrong, too.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import simdjson

from clipper.errors import InvalidInput, InvalidJson
from clipper.inputs import shown
from clipper_container.tensors import BYTES, DATATYPES, count_elements
from clipper_frontends.oip.request import InferTensor

_LITTLE_ENDIAN = sys.byteorder == "little"
_BUFFER_OF_KIND: Mapping[str, str] = {"f": "d", "i": "i", "u": "u"}
_DTYPE_OF_BUFFER: Mapping[str, str] = {"d": "<f8", "i": "<i8", "u": "<u8"}
_LEAVES_OF_KIND: Mapping[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "f": frozenset({int, float}),
    "i": frozenset({int, float}),
    "u": frozenset({int, float}),
}
_WORDS_OF_KIND: Mapping[str, str] = {"b": "true or false", "f": "numbers", "i": "whole numbers", "u": "whole numbers"}

Array = npt.NDArray[Any]


class JsonDataReader:
    """Reads data; has a parser of its own, so one reader belongs to one thread."""

    def __init__(self) -> None:
        self._parser: Any = simdjson.Parser()

    def tensor(self, name: str, datatype: str, shape: tuple[int, ...], text: bytes) -> InferTensor:
        """The input that ``text`` is the data of.

        Args:
            name: The input's.
            datatype: One that `clipper_frontends.oip.datatypes.check_datatype` lets pass.
            shape: One that `clipper_frontends.oip.datatypes.check_shape` made.
            text: JSON.

        Raises:
            InvalidInput: The elements are others, fewer or more than datatype and shape say.
            InvalidJson: The text is not JSON.
        """
        values = self._flat_numbers(text, datatype, shape)
        if values is None:
            leaves = _leaves(_parsed(text, name), shape, name)
            if datatype == BYTES:
                return InferTensor(name, datatype, shape, [_element(leaf, name) for leaf in leaves])
            values = _array(leaves, datatype, name)
        return InferTensor(name, datatype, shape, _narrowed(values, datatype, name).data)

    def flat(self, name: str, datatype: str, shape: tuple[int, ...], text: bytes) -> memoryview | None:
        """The elements of a flat list of numbers; None where `tensor` has to look.

        Raises:
            InvalidInput: A number is out of the datatype's range.
        """
        values = self._flat_numbers(text, datatype, shape)
        return None if values is None else _narrowed(values, datatype, name).data

    def _flat_numbers(self, text: bytes, datatype: str, shape: tuple[int, ...]) -> Array | None:
        """The numbers of one list, perhaps in another one of one element; None where the general way has to look."""
        kind = np.dtype(DATATYPES[datatype]).kind if datatype != BYTES else "b"
        if kind == "b" or not _LITTLE_ENDIAN:
            return None
        if text.startswith(b"[[") and text.endswith(b"]]") and shape[0] == 1 and len(shape) == 2:  # noqa: PLR2004  # [[...]]
            text = text[1:-1]
        if text.find(b"[", 1) >= 0:
            return None
        buffer = _BUFFER_OF_KIND[kind]
        try:
            data = bytes(self._parser.parse(text).as_buffer(of_type=buffer))
        except (ValueError, TypeError, RuntimeError, AttributeError):
            return None
        values = np.frombuffer(data, _DTYPE_OF_BUFFER[buffer])
        return values if len(values) == count_elements(shape) else None


def _parsed(text: bytes, name: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise InvalidJson(f"The data of input '{name}' is nested too deeply.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidJson(f"The data of input '{name}' is not valid JSON: {error}.") from None


def _leaves(values: Any, shape: Sequence[int], name: str) -> list[Any]:
    """The elements, row-major, of lists that are nested as ``shape`` says, or of one flat list."""
    if not isinstance(values, list):
        raise InvalidInput(f"The data of input '{name}' must be a list, got {shown(values)}.")
    count = count_elements(shape)
    if not any(isinstance(value, list) for value in values):
        if len(values) != count:
            raise InvalidInput(f"Input '{name}' must have {count} elements for {list(shape)}, got {len(values)}.")
        return values
    leaves: list[Any] = [values]
    for axis, size in enumerate(shape):
        for part in leaves:
            if not isinstance(part, list) or len(part) != size:
                came = f"a list of {len(part)}" if isinstance(part, list) else shown(part)
                raise InvalidInput(
                    f"The data of input '{name}' must be flat, or nested as its shape {list(shape)} says; in dimension "
                    f"{axis} a list of {size} was expected, got {came}."
                )
        leaves = [item for part in leaves for item in part]
    return leaves


def _element(leaf: Any, name: str) -> bytes:
    if not isinstance(leaf, str):
        raise InvalidInput(f"The data of input '{name}' must be strings for BYTES, got {shown(leaf)}.")
    return leaf.encode()


def _array(leaves: list[Any], datatype: str, name: str) -> Array:
    """Elements of any type as numbers that `_narrowed` can look at."""
    kind = np.dtype(DATATYPES[datatype]).kind
    allowed = _LEAVES_OF_KIND[kind]
    for leaf in leaves:
        if type(leaf) not in allowed or (kind in "iu" and type(leaf) is float and not leaf.is_integer()):
            raise InvalidInput(
                f"The data of input '{name}' must be {_WORDS_OF_KIND[kind]} for {datatype}, got {shown(leaf)}."
            )
    wide = "|b1" if kind == "b" else _DTYPE_OF_BUFFER[_BUFFER_OF_KIND[kind]]
    try:
        return np.array(leaves if kind in "bf" else [int(leaf) for leaf in leaves], wide)
    except OverflowError:
        raise _out_of_range(datatype, name) from None


def _narrowed(values: Array, datatype: str, name: str) -> Array:
    """The values in the width of their datatype; a fraction becomes the nearest one that it has."""
    dtype = np.dtype(DATATYPES[datatype])
    if values.dtype == dtype:
        return values
    if dtype.kind == "f":
        limit = float(np.finfo(dtype).max)
        if np.abs(values).max() > limit:
            raise _out_of_range(datatype, name)
    else:
        bounds = np.iinfo(dtype)
        if values.min() < bounds.min or values.max() > bounds.max:
            raise _out_of_range(datatype, name)
    return values.astype(dtype)


def _out_of_range(datatype: str, name: str) -> InvalidInput:
    return InvalidInput(f"The data of input '{name}' has a number that is out of the range of {datatype}.")
