"""Majority: every model answers, and each has one vote."""

from collections.abc import Sequence
from typing import ClassVar

from clipper.evidence import State
from clipper.selection.combining import Combining
from clipper.selection.ensemble import Ensemble
from clipper.selection.learning import uniform
from clipper.selection.losses import Loss


class Majority(Ensemble):
    """The answer that most models give; the first linked decide between equal numbers. Feedback is kept, not used."""

    name: ClassVar[str] = "majority"

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:  # noqa: ARG002  # the protocol's shape
        """The same weight for each."""
        return uniform(len(arms))

    def way_of_combining(self, loss: Loss) -> Combining:  # noqa: ARG002  # the protocol's shape
        """A vote."""
        return "vote"
