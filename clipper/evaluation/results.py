"""What an evaluation says."""

from typing import Literal, NamedTuple

import msgspec


class Interval(NamedTuple):
    """From where to where."""

    low: float
    high: float

    def widened(self, below: float, above: float) -> "Interval":
        """With so much more room on each side."""
        return Interval(self.low - below, self.high + above)

    def within(self, low: float, high: float) -> "Interval":
        """Only what lies between those bounds."""
        return Interval(min(max(self.low, low), high), max(min(self.high, high), low))


Kind = Literal["single", "policy", "ensemble"]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What one candidate would have earned.

    Losses are means over the feedbacks, in [0, 1]. ``loss`` is the doubly robust estimate; ``inverse_propensity`` and
    ``self_normalised`` are the plain ones, to compare with. ``interval`` covers chance and, where the log has no
    support for a part of what the candidate would have done (``unsupported``, a share of its choices), anything that
    could have come of that part. ``effective_count`` is how many feedbacks on the candidate's own choices the log is
    worth (Kish, 1965). ``difference`` is against what was answered, on the same feedbacks. None: the log cannot say.
    """

    name: str
    kind: Kind
    loss: float | None
    interval: Interval | None
    difference: float | None
    difference_interval: Interval | None
    inverse_propensity: float | None
    self_normalised: float | None
    unsupported: float
    effective_count: float
    largest_weight: float
    fault: str | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All candidates, and what was answered in fact (``answered``: None where no answer's loss was logged).

    ``feedbacks`` were evaluated; of these ``complete`` had the outputs of all models. ``left_out`` say nothing about
    the models that are evaluated: they were on others, or what came of the choice is not known.
    """

    feedbacks: int
    complete: int
    left_out: int
    confidence: float
    answered_count: int
    answered: float | None
    answered_interval: Interval | None
    estimates: list[Estimate]
