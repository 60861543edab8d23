"""Average: every model answers, and all count the same in the mean."""

from collections.abc import Sequence
from typing import ClassVar

from clipper.evidence import State
from clipper.selection.combining import Combining
from clipper.selection.ensemble import Ensemble
from clipper.selection.learning import uniform
from clipper.selection.losses import Loss


class Average(Ensemble):
    """The mean of numbers, or of lists of numbers; what cannot be averaged is voted on. Feedback is kept, not used."""

    name: ClassVar[str] = "average"

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:  # noqa: ARG002  # the protocol's shape
        """The same weight for each."""
        return uniform(len(arms))

    def way_of_combining(self, loss: Loss) -> Combining:  # noqa: ARG002  # the protocol's shape
        """A mean."""
        return "mean"
