"""Datatypes of the protocol: which are served, and what an application's input type is called in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from clipper.errors import InvalidInput
from clipper.inputs import shown
from clipper_container.tensors import BYTES, DATATYPES, MAX_ELEMENTS, MAX_RANK, MalformedTensor, count_elements

SERVED = (*DATATYPES, BYTES)
"""All of the protocol's but BF16, which neither JSON nor numpy can express."""

DATATYPE_OF_INPUT_TYPE: Mapping[str, str] = {
    "doubles": "FP64",
    "floats": "FP32",
    "integers": "INT32",
    "strings": BYTES,
    "bytes": BYTES,
    "json": BYTES,
}
"""What the metadata calls the one tensor of an application with a flat input type."""

NUMERIC = frozenset(DATATYPES) - {"BOOL"}
"""Datatypes whose values an application of doubles, floats or integers takes, where they are in its range."""


def check_datatype(datatype: Any, tensor: str) -> str:
    """``datatype``, if it is one that is served; ``tensor`` names the tensor in the error ("input 'x'").

    Raises:
        InvalidInput: The sentence lists what is.
    """
    if isinstance(datatype, str) and (datatype in DATATYPES or datatype == BYTES):
        return datatype
    raise InvalidInput(
        f"The datatype of {tensor} is {shown(datatype)}; this server takes {', '.join(SERVED)}"
        f"{' (BF16 is not served: send FP32)' if datatype == 'BF16' else ''}."
    )


def check_shape(shape: Any, tensor: str) -> tuple[int, ...]:
    """``shape``, if it is a list of sizes from 1 on; the first one is the number of queries.

    Raises:
        InvalidInput: It is something else, or claims more elements than any tensor may have.
    """
    if not isinstance(shape, Sequence) or isinstance(shape, str | bytes) or not 0 < len(shape) <= MAX_RANK:
        raise InvalidInput(f"The shape of {tensor} must be a list of 1 to {MAX_RANK} sizes, got {shown(shape)}.")
    for size in shape:
        if type(size) is not int or not 0 < size <= MAX_ELEMENTS:
            raise InvalidInput(
                f"The shape of {tensor} must have whole numbers from 1 to {MAX_ELEMENTS}, got {shown(list(shape))}."
            )
    try:
        count_elements(shape)
    except MalformedTensor as fault:
        raise InvalidInput(f"{tensor[0].upper()}{tensor[1:]} {fault}.") from None
    return tuple(shape)
