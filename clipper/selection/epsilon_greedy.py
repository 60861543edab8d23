"""Epsilon-greedy: the model with the smallest mean loss so far, and now and then any other."""

from collections.abc import Sequence
from typing import ClassVar

from clipper.evidence import State
from clipper.selection.learning import LearningPolicy, Share, mean_losses, mixed
from clipper.selection.trials import with_trials


class EpsilonGreedy(LearningPolicy):
    """The best model so far answers, except for the part ``epsilon`` of the queries, which goes to all alike."""

    name: ClassVar[str] = "epsilon_greedy"

    epsilon: Share = 0.05

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:
        """All on the best, mixed with exploration and trials."""
        return mixed(with_trials(arms, state, lambda settled: _greedy(settled, state)), self.epsilon)


def _greedy(arms: Sequence[str], state: State) -> list[float]:
    """Everything for the smallest mean, equal ones sharing it."""
    means = mean_losses(arms, state)
    least = min(means)
    return [1.0 / means.count(least) if mean == least else 0.0 for mean in means]
