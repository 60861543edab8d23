"""Exp4: every model answers every query, and exponential weights say how much each counts.

After Auer, Cesa-Bianchi, Freund and Schapire (SIAM J. Computing 32, 2002) in the form of Clipper (NSDI 2017): all
models are asked, so that every feedback shows the loss of each.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from clipper.evidence import State
from clipper.frozen import Number
from clipper.selection.combining import Combining
from clipper.selection.ensemble import Ensemble
from clipper.selection.exponential import ExponentialPolicy, exponential_weights
from clipper.selection.learning import sums_of
from clipper.selection.losses import Loss


class Exp4(Ensemble, ExponentialPolicy):
    """A weighted vote, or mean, of all models; the weights are learnt.

    With ``eta`` it is the policy of the literature (of Clipper's paper: ``eta`` .2 and ``half_life_feedbacks`` null),
    which ends with all weight on the best model. Without, the weights stay spread, and models whose errors differ
    correct each other: the ensemble can be better than any of them. ``combining`` is ``vote`` or ``mean``; by default
    what suits the application's loss.
    """

    name: ClassVar[str] = "exp4"

    sharpness: Annotated[Number, Field(gt=0, le=1e4)] = 5.0
    combining: Combining | None = None

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:
        """Exponential weights over the feedbacks for which the output of each was known."""
        losses, plays = sums_of(arms, state, "loss"), sums_of(arms, state, "plays")
        if self.eta is None:
            return self.weights_of_means(losses, plays)
        return exponential_weights(losses, plays, self.eta)

    def way_of_combining(self, loss: Loss) -> Combining:
        """The option where it is given, else what suits the loss."""
        return self.combining or super().way_of_combining(loss)
