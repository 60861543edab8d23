"""Exp3: exponential weights over the models, one of which answers each query.

Auer, Cesa-Bianchi, Freund and Schapire, "The nonstochastic multiarmed bandit problem", SIAM J. Computing 32 (2002).
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from clipper.evidence import State
from clipper.frozen import Number
from clipper.selection.exponential import ExponentialPolicy, exponential_weights
from clipper.selection.learning import Share, mixed, sums_of


class Exp3(ExponentialPolicy):
    """Draws a model by its weight. ``exploration`` is the part of the queries that goes to all models alike.

    With ``eta`` it is the policy of the literature (of Clipper's paper: ``eta`` .05, ``exploration`` 0 and
    ``half_life_feedbacks`` null): a loss counts divided by the probability of the choice, which makes up for the
    queries that a model did not get. That is right in the mean, and wild for models that are hardly ever chosen.
    Without ``eta`` a model's loss is estimated by its mean over its own plays, which follows a model that breaks or
    heals as soon as it is played.
    """

    name: ClassVar[str] = "exp3"

    sharpness: Annotated[Number, Field(gt=0, le=1e4)] = 80.0
    exploration: Share = 0.03

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:
        """Exponential weights, mixed with exploration."""
        if self.eta is None:
            losses, plays = sums_of(arms, state, "loss"), sums_of(arms, state, "plays")
            weights = self.weights_of_means(losses, plays)
        else:
            losses, eligible = sums_of(arms, state, "weighted_loss"), sums_of(arms, state, "eligible")
            weights = exponential_weights(losses, eligible, self.eta)
        return mixed(weights, self.exploration)
