"""What every tensor of a request is held against, whatever it becomes."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clipper.errors import InvalidInput
from clipper_frontends.rest.limits import MAX_INPUTS_PER_REQUEST

if TYPE_CHECKING:
    from clipper_frontends.oip.request import InferTensor

Array = npt.NDArray[Any]


def check_batch(count: int) -> None:
    """Refuse more queries than a request may ask.

    Raises:
        InvalidInput: With both numbers.
    """
    if count > MAX_INPUTS_PER_REQUEST:
        raise InvalidInput(
            f"The first dimension is the batch; {count} queries came, and a request takes at most "
            f"{MAX_INPUTS_PER_REQUEST}. Send several."
        )


def check_finite(values: Array, tensor: "InferTensor") -> None:
    """Refuse NaN and Infinity, which JSON has not either.

    Raises:
        InvalidInput: With the place of the first one.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        refuse_first(values, ~np.isfinite(values), tensor, "a finite number")


def refuse_first(values: Array, wrong: Array, tensor: "InferTensor", expected: str) -> None:
    """Refuse ``values`` if any of them is ``wrong``, both flat.

    Raises:
        InvalidInput: With the place of the first one, and what was ``expected``.
    """
    if wrong.any():
        flat = int(np.argmax(wrong))
        place = [int(i) for i in np.unravel_index(flat, tensor.shape)]
        raise InvalidInput(f"Input '{tensor.name}' at {place} must be {expected}, got {values[flat]}.")
