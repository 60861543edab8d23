"""The largest batch whose 99th percentile, fitted as linear in the size, is inside the set-point (Clipper, NSDI'17).

Quantile regression: Koenker and Bassett, Regression Quantiles, Econometrica 1978. With one regressor the fit needs no
linear program: for a given slope the best intercept is the quantile of the residuals, and the loss is convex in the
slope, which leaves a golden-section search in one dimension.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from clipper.abstraction.batching.policy import Plan

QUANTILE = 0.99
SET_POINT_SHARE = 0.5
"""Of the SLO; the other half is the queue's."""
SAMPLES = 100
REFIT_AFTER = 16
SEARCH_STEPS = 24
GOLDEN = 0.6180339887498949
"""Of the golden-section search: one new evaluation a step."""


def _residual_quantile(residuals: list[float]) -> float:
    residuals.sort()
    return residuals[min(len(residuals) - 1, int(QUANTILE * len(residuals)))]


def _pinball_loss(slope: float, samples: Sequence[tuple[int, float]]) -> float:
    residuals = [seconds - slope * size for size, seconds in samples]
    intercept = _residual_quantile(residuals)
    above = sum(r - intercept for r in residuals if r > intercept)
    below = sum(intercept - r for r in residuals if r < intercept)
    return QUANTILE * above + (1 - QUANTILE) * below


def fit_quantile_line(samples: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """(intercept, slope) of the 99th percentile of seconds over size; the slope is not negative."""
    low, high = 0.0, max(seconds / size for size, seconds in samples)
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    left_loss, right_loss = _pinball_loss(left, samples), _pinball_loss(right, samples)
    for _ in range(SEARCH_STEPS):
        if left_loss <= right_loss:
            high, right, right_loss = right, left, left_loss
            left = high - GOLDEN * (high - low)
            left_loss = _pinball_loss(left, samples)
        else:
            low, left, left_loss = left, right, right_loss
            right = low + GOLDEN * (high - low)
            right_loss = _pinball_loss(right, samples)
    slope = (low + high) / 2
    return _residual_quantile([seconds - slope * size for size, seconds in samples]), slope


class QuantileRegression:
    """Fits again every few batches over the recent ones; grows by at most doubling the largest recent size."""

    def __init__(self, slo_s: float, max_batch_size: int) -> None:
        self._max_batch_size = max_batch_size
        self._samples: deque[tuple[int, float]] = deque(maxlen=SAMPLES)
        self._observed = 0
        self._intercept_s = 0.0
        self._slope_s = 0.0
        self.target_size = self.expected_size = 1
        self.set_slo(slo_s)

    def set_slo(self, slo_s: float) -> None:
        """See `BatchingPolicy.set_slo`."""
        self._set_point_s = slo_s * SET_POINT_SHARE

    def plan(self, start_s: float, deadlines_s: Sequence[float]) -> Plan:  # noqa: ARG002  the paper looks at no deadline
        """See `BatchingPolicy.plan`."""
        return Plan(0, min(self.target_size, len(deadlines_s)), "fitted 99th percentile")

    def observe(self, size: int, seconds: float) -> None:
        """See `BatchingPolicy.observe`."""
        self._samples.append((size, seconds))
        self._observed += 1
        # A full batch that was on time at the edge of what is known moves the edge: fit at once while growing.
        grows = size >= self.target_size and seconds < self._set_point_s and self._observed < SAMPLES
        if grows or self._observed % REFIT_AFTER == 0:
            self._refit()

    def describe(self) -> dict[str, Any]:
        """See `BatchingPolicy.describe`."""
        return {
            "policy": "quantile",
            "size": self.target_size,
            "set_point_ms": self._set_point_s * 1e3,
            "p99_ms": f"{self._intercept_s * 1e3:.3f} + {self._slope_s * 1e3:.5f} * size",
        }

    def _refit(self) -> None:
        self._intercept_s, self._slope_s = fit_quantile_line(self._samples)
        most = self._max_batch_size
        room_s = self._set_point_s - self._intercept_s
        fits = most if self._slope_s * most <= room_s else int(room_s / self._slope_s) if self._slope_s else 0
        self.expected_size = max(1, min(fits, most))
        self.target_size = min(self.expected_size, 2 * max(size for size, _ in self._samples))
