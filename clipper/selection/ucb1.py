"""UCB1, softened: optimism in the face of uncertainty, with some chance for every model.

Auer, Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit problem", Machine Learning 47 (2002).
The original plays the one arm with the best bound; then the propensity of all others is 0, nothing can be said
afterwards about another policy, and all queries between two feedbacks go to one arm.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from clipper.evidence import State
from clipper.frozen import Number
from clipper.selection.learning import LearningPolicy, Share, mean_losses, mixed, sums_of
from clipper.selection.trials import with_trials


class Ucb1(LearningPolicy):
    """Chooses by the loss that a model could have at best, given how often it was seen.

    The bound lies ``width`` x sqrt(2 ln N / n) below the mean loss (1: the original's). A model whose bound is worse by
    ``temperature`` gets 1 / e of the queries.
    """

    name: ClassVar[str] = "ucb1"

    width: Annotated[Number, Field(ge=0, le=10)] = 0.1
    temperature: Annotated[Number, Field(gt=0, le=10)] = 0.01
    exploration: Share = 0.02

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:
        """A soft minimum of the bounds, mixed with exploration and trials."""
        return mixed(with_trials(arms, state, lambda settled: self._by_bounds(settled, state)), self.exploration)

    def _by_bounds(self, arms: Sequence[str], state: State) -> list[float]:
        plays = sums_of(arms, state, "plays")
        log_total = math.log1p(math.fsum(plays))
        bounds = [
            mean - self.width * math.sqrt(2.0 * log_total / max(1.0, count))
            for mean, count in zip(mean_losses(arms, state), plays, strict=True)
        ]
        least = min(bounds)
        terms = [math.exp((least - bound) / self.temperature) for bound in bounds]
        total = math.fsum(terms)
        return [term / total for term in terms]
