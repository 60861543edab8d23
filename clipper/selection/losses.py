"""How wrong an output is, given the true label: a number in [0, 1]."""

import math
import sys
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from clipper.errors import InvalidLabel
from clipper.selection.equality import equal, is_number, is_vector, kind_of

_LARGEST = sys.float_info.max
_MAX_SHOWN_CHARS = 60


class Loss(msgspec.Struct, frozen=True):
    """An application's loss function: ``zero_one``, or ``squared`` or ``absolute`` error.

    Errors up to ``low`` count as 0 and from ``high`` as 1, in a straight line between; ``zero_one`` has no use for
    them. A list of numbers is compared with a list of as many (the mean of the errors), or, under ``zero_one``, with
    the index of the class that is right: there the largest number is the answer.
    """

    name: Literal["zero_one", "squared", "absolute"] = "zero_one"
    low: float = 0.0
    high: float = 1.0

    def of(self, output: Any, label: Any) -> float | None:
        """The loss of one output, or None when the two cannot be compared."""
        if self.name == "zero_one":
            return _zero_one(output, label)
        error = self._error(output, label)
        return None if error is None else min(1.0, max(0.0, (error - self.low) / (self.high - self.low)))

    def of_all(self, outputs: Mapping[str, Any], label: Any) -> dict[str, float]:
        """The loss of each output, by the name of its arm.

        An output of another kind than the label is as wrong as can be, as long as the label suits another output.

        Raises:
            InvalidLabel: The label can be compared with none of the outputs.
        """
        losses = {arm: self.of(output, label) for arm, output in outputs.items()}
        if losses and all(loss is None for loss in losses.values()):
            raise InvalidLabel(self._complaint(label, *next(iter(outputs.items()))))
        return {arm: 1.0 if loss is None else loss for arm, loss in losses.items()}

    def _error(self, output: Any, label: Any) -> float | None:
        if is_number(output) and is_number(label):
            return self._distance(output, label)
        if is_vector(output) and is_vector(label) and len(output) == len(label):
            # Divided first: a sum of errors could exceed the largest float.
            return math.fsum(self._distance(o, x) / len(output) for o, x in zip(output, label, strict=True))
        return None

    def _distance(self, output: float, label: float) -> float:
        distance = min(_LARGEST, abs(as_float(output) - as_float(label)))
        return distance if self.name == "absolute" else min(_LARGEST, distance * distance)

    def _complaint(self, label: Any, arm: str, output: Any) -> str:
        if self.name != "zero_one":
            expected = "a number for outputs that are numbers, and a list of as many numbers for lists"
        elif is_vector(output):
            expected = f"the index of a class, 0 to {len(output) - 1}, or a list of {len(output)} numbers"
        else:
            expected = f"of the same kind as the outputs: a {kind_of(output)}"
        return (
            f"The label cannot be compared with the outputs under the loss '{self.name}': it must be {expected}; "
            f"{_shown(label)} came, and '{arm}' answered {_shown(output)}."
        )


def largest(scores: list[float]) -> int:
    """The index of the largest number, the first of equal ones."""
    return max(range(len(scores)), key=scores.__getitem__)


def as_float(number: float) -> float:
    """A finite float; an integer beyond the largest one is taken for it."""
    try:
        return max(-_LARGEST, min(_LARGEST, float(number)))
    except OverflowError:
        return _LARGEST if number > 0 else -_LARGEST


def _zero_one(output: Any, label: Any) -> float | None:
    if is_number(label) and is_vector(output):
        inside = label == math.floor(label) and 0 <= label < len(output)
        return float(largest(output) != label) if inside else None
    kinds = {kind_of(output), kind_of(label)}
    if len(kinds - {"null"}) > 1:
        return None
    return 0.0 if equal(output, label) else 1.0


def _shown(value: Any) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except RecursionError:  # it was read with more stack left than there is here
        return f"a {kind_of(value)} nested too deeply to be shown"
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "..."
