"""Additive increase, multiplicative decrease of the batch size (Clipper, NSDI'17, section 4.3.1)."""

from collections.abc import Sequence
from typing import Any

from clipper.abstraction.batching.policy import Plan

STEP = 2
BACKOFF = 0.9
SET_POINT_SHARE = 0.5
"""Of the SLO. The paper used all of it and left the time in the queue out; half is the queue's here."""
HOLD_SHARE = 0.9
"""Of the set-point: above it the size is held."""


class Aimd:
    """The maximum grows by 2 while a full batch stays inside the set-point and shrinks by a tenth when one does not."""

    def __init__(self, slo_s: float, max_batch_size: int) -> None:
        self._max_batch_size = max_batch_size
        self._limit = 1.0
        self.target_size = self.expected_size = 1
        self.set_slo(slo_s)

    def set_slo(self, slo_s: float) -> None:
        """See `BatchingPolicy.set_slo`."""
        self._set_point_s = slo_s * SET_POINT_SHARE

    def plan(self, start_s: float, deadlines_s: Sequence[float]) -> Plan:  # noqa: ARG002  the paper looks at no deadline
        """See `BatchingPolicy.plan`."""
        return Plan(0, min(self.target_size, len(deadlines_s)), "additive increase, multiplicative decrease")

    def observe(self, size: int, seconds: float) -> None:
        """See `BatchingPolicy.observe`."""
        if seconds > self._set_point_s:
            self._limit = max(1.0, min(self._limit, size) * BACKOFF)
        elif size >= self.target_size and seconds < self._set_point_s * HOLD_SHARE:
            self._limit = min(float(self._max_batch_size), self._limit + STEP)
        self.target_size = self.expected_size = int(self._limit)

    def describe(self) -> dict[str, Any]:
        """See `BatchingPolicy.describe`."""
        return {"policy": "aimd", "size": self.target_size, "set_point_ms": self._set_point_s * 1e3}
