"""Means with intervals, from running sums."""

import math
from statistics import NormalDist

from clipper.evaluation.results import Interval


class Moments:
    """Count, mean and variance of a stream of numbers (Welford, Technometrics 1962)."""

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        """One more number."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self._squares += step * (value - self.mean)

    @property
    def variance_of_mean(self) -> float:
        """The estimated variance of ``mean``; infinite where one cannot know it."""
        if self.count < 2:  # noqa: PLR2004  # a variance needs two
            return math.inf
        return self._squares / (self.count - 1) / self.count


def normal_interval(mean: float, variance: float, confidence: float) -> Interval:
    """By the central limit theorem.

    The terms may depend on earlier ones, as those of a learning policy do: what counts is that the expected error of
    each is 0 given the past (Hall and Heyde, "Martingale Limit Theory", 1980).
    """
    half = _z(confidence) * math.sqrt(variance)
    return Interval(mean - half, mean + half)


def share_interval(mean: float, variance: float, effective_count: float, confidence: float) -> Interval:
    """Of a share of wrong answers: Wilson's score interval (1927), for as many answers as the terms are worth.

    Where errors are rare and few answers of a policy were seen, the spread of those few says nothing about those that
    were not; the normal interval would be far too narrow then (Brown, Cai and DasGupta, Statistical Science 2001).
    """
    p = min(1.0, max(0.0, mean))
    worth = effective_count if variance <= 0.0 else min(effective_count, p * (1.0 - p) / variance or math.inf)
    if worth <= 0.0:
        return Interval(0.0, 1.0)
    z2 = _z(confidence) ** 2
    centre = (p + z2 / (2.0 * worth)) / (1.0 + z2 / worth)
    half = math.sqrt(z2 * (p * (1.0 - p) / worth + z2 / (4.0 * worth * worth))) / (1.0 + z2 / worth)
    return Interval(centre - half, centre + half)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)
