"""Thompson sampling: a model answers with the probability that it is the best one, by what is known.

Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 25 (1933). The mean loss of an
arm has a Beta posterior; the probability that it is the smallest is integrated over normal distributions of the same
means and deviations, so that the propensities are known and the same state always gives the same ones.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from clipper.evidence import State
from clipper.selection.learning import LearningPolicy, Share, mixed, sums_of
from clipper.selection.trials import with_trials

_MAX_POINTS = 200
_MAX_POINTS_OF_AN_ARM = 17
_MIN_POINTS_OF_AN_ARM = 3
_REACH = 4.0
"""The points of an arm reach this many deviations to both sides; beyond lie 6 in 100,000."""


class Thompson(LearningPolicy):
    """Probability matching. ``exploration`` is the part of the queries that goes to all models alike."""

    name: ClassVar[str] = "thompson"

    exploration: Share = 0.02

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:
        """The probability of each arm to be the best, mixed with exploration and trials."""
        return mixed(with_trials(arms, state, lambda settled: _matched(settled, state)), self.exploration)


def _matched(arms: Sequence[str], state: State) -> list[float]:
    plays, lost = sums_of(arms, state, "plays"), sums_of(arms, state, "loss")
    return _chances_of_the_least([_posterior(count, loss) for count, loss in zip(plays, lost, strict=True)])


def _posterior(plays: float, lost: float) -> tuple[float, float]:
    """Mean and deviation of Beta(1 + losses, 1 + successes)."""
    a, b = 1.0 + lost, 1.0 + max(0.0, plays - lost)
    return a / (a + b), math.sqrt(a * b / (a + b + 1.0)) / (a + b)


def _chances_of_the_least(posteriors: Sequence[tuple[float, float]]) -> list[float]:
    """The probability of each normal variable (mean, deviation) to be the smallest of all.

    The integral of its density times the chances of all others to be larger, by the trapezoid rule over its own
    distribution, on points that lie close where any of the variables changes.
    """
    grid = _grid(posteriors)
    survival = [[_larger(x, mean, deviation) for mean, deviation in posteriors] for x in grid]
    others = [_products_without_each(row) for row in survival]
    chances = [0.0] * len(posteriors)
    for (above, below), (here, there) in zip(pairwise(survival), pairwise(others), strict=True):
        for arm in range(len(posteriors)):
            chances[arm] += (above[arm] - below[arm]) * 0.5 * (here[arm] + there[arm])
    total = math.fsum(chances)
    return [chance / total for chance in chances]


def _grid(posteriors: Sequence[tuple[float, float]]) -> list[float]:
    """Where the least of them may lie: not above what one of them will hardly exceed."""
    of_an_arm = min(_MAX_POINTS_OF_AN_ARM, max(_MIN_POINTS_OF_AN_ARM, _MAX_POINTS // len(posteriors)))
    steps = [_REACH * (2.0 * index / (of_an_arm - 1) - 1.0) for index in range(of_an_arm)]
    highest = min(mean + _REACH * deviation for mean, deviation in posteriors)
    points = (mean + deviation * step for mean, deviation in posteriors for step in steps)
    return sorted(point for point in points if point <= highest)


def _larger(x: float, mean: float, deviation: float) -> float:
    return 0.5 * math.erfc((x - mean) / (deviation * math.sqrt(2.0)))


def _products_without_each(factors: Sequence[float]) -> list[float]:
    """The product of all factors but the one at each place, without dividing: a factor may be 0."""
    products = [1.0] * len(factors)
    before = after = 1.0
    for index, last in zip(range(len(factors)), reversed(range(len(factors))), strict=True):
        products[index] *= before
        before *= factors[index]
        products[last] *= after
        after *= factors[last]
    return products
