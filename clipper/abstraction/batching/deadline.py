"""The default policy: batches as large as their deadlines allow, at once when a replica is free.

Work-conserving earliest deadline first with Nexus's window (SOSP'19, early drop): heads are left out where that raises
the number of queries answered on time, so that one tight head does not shrink every batch. Sizes are explored upwards,
by doubling the largest known one, or further if the batch were on time even without any gain from batching, and only
with queries that are really there.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from clipper.abstraction.batching.latency import LatencyModel
from clipper.abstraction.batching.policy import Plan

SET_POINT_SHARE = 0.47
"""Of the SLO: the largest share of it that two full batches in a row can have (one to wait for, one to be in), less
some room for noise."""
LOOK_AHEAD_BATCHES = 4


class DeadlineBatching:
    """Takes the earliest-deadline prefix that is on time, up to the size whose run takes about half of the SLO."""

    def __init__(self, slo_s: float, max_batch_size: int, latency: LatencyModel) -> None:
        self._latency = latency
        self._max_batch_size = max_batch_size
        self._slo_s = slo_s
        self.target_size = self.expected_size = 1
        self._seen = 0
        self._retarget()

    def set_slo(self, slo_s: float) -> None:
        """See `BatchingPolicy.set_slo`."""
        self._slo_s = slo_s
        self._retarget()

    def observe(self, size: int, seconds: float) -> None:  # noqa: ARG002  the shared latency model has it already
        """See `BatchingPolicy.observe`."""
        if self._latency.revision != self._seen:
            self._retarget()

    def plan(self, start_s: float, deadlines_s: Sequence[float]) -> Plan:
        """See `BatchingPolicy.plan`."""
        size = min(self.target_size, len(deadlines_s))
        if size < len(deadlines_s) and self.target_size < self.expected_size:
            size = min(max(size, self._in_proportion(deadlines_s[0] - start_s)), self.expected_size, len(deadlines_s))
        if start_s + self._latency.seconds(size) <= deadlines_s[0]:
            return Plan(0, size, "target size" if size < len(deadlines_s) else "everything queued")
        return self._window(start_s, deadlines_s)

    def describe(self) -> dict[str, Any]:
        """See `BatchingPolicy.describe`."""
        known = self._latency.largest
        size = self.target_size
        if size >= self._max_batch_size:
            why = "the maximum"
        elif size > known:
            why = f"explores beyond {known}, the largest size measured"
        else:
            why = f"its run takes about {self.set_point_s * 1e3:.1f} ms"
        return {"policy": "deadline", "size": size, "why": why, "set_point_ms": self.set_point_s * 1e3}

    @property
    def set_point_s(self) -> float:
        """How long a full batch should run.

        About half of the SLO. Where a single query already takes most of that, the window in which arrivals are still
        on time shrinks anyway, and a larger batch is worth more than a second one.
        """
        one_s = self._latency.seconds(1)
        return max(self._slo_s * SET_POINT_SHARE, min(1.5 * one_s, (self._slo_s + one_s) / 2))

    def _in_proportion(self, slack_s: float) -> int:
        """The size on time even if each query takes as long as one in the largest known batch: no batch is worse."""
        slowest_s = self._latency.slowest_s
        return int(self._latency.largest * min(slack_s, self._slo_s) / slowest_s) if slowest_s > 0 else 0

    def _retarget(self) -> None:
        self._seen = self._latency.revision
        self.expected_size = max(1, self._latency.size_within(self.set_point_s, self._max_batch_size))
        self.target_size = min(self.expected_size, max(1, 2 * self._latency.largest))

    def _window(self, start_s: float, deadlines_s: Sequence[float]) -> Plan:
        """The head is too tight for all: drop none, the hopeless ones, or all that stand in the way of a full batch."""
        first_possible = bisect_left(deadlines_s, start_s + self._latency.seconds(1))
        if first_possible == len(deadlines_s):
            return Plan(len(deadlines_s) - 1, 1, "all late, a sample of one", hopeless=True)
        skip = first_possible
        first_of_full = self._first_of_full(first_possible, start_s, deadlines_s)
        if first_of_full < len(deadlines_s) and (
            self._on_time(first_of_full, start_s, deadlines_s) > self._on_time(first_possible, start_s, deadlines_s)
        ):
            skip = first_of_full
        size = self._prefix(skip, start_s, deadlines_s)
        return Plan(skip, size, "tight head" if skip == 0 else "heads left out for the others")

    def _first_of_full(self, first: int, start_s: float, deadlines_s: Sequence[float]) -> int:
        """The first head from which all, or a batch of the target size, are on time: monotone, hence bisection."""

        def full(index: int) -> bool:
            size = min(self.target_size, len(deadlines_s) - index)
            return start_s + self._latency.seconds(size) <= deadlines_s[index]

        return bisect_left(range(len(deadlines_s)), True, first, key=full)

    def _prefix(self, first: int, start_s: float, deadlines_s: Sequence[float]) -> int:
        most = min(self.target_size, len(deadlines_s) - first)
        return max(1, self._latency.size_within(deadlines_s[first] - start_s, most))

    def _on_time(self, first: int, start_s: float, deadlines_s: Sequence[float]) -> int:
        """How many of the queue are on time if the next batches are the prefixes from ``first`` on."""
        count = 0
        for _ in range(LOOK_AHEAD_BATCHES):
            first = bisect_left(deadlines_s, start_s + self._latency.seconds(1), first)
            if first >= len(deadlines_s):
                break
            size = self._prefix(first, start_s, deadlines_s)
            count += size
            first += size
            start_s += self._latency.seconds(size)
        return count
