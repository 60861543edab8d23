"""Latencies as counts in buckets whose width grows with the value: any percentile, within 0.25 %, in fixed memory.

The idea of HdrHistogram (Tene) with the logarithmic buckets of DDSketch (Masson, Rim, Lee, VLDB 2019). Of our own as
recording is then one `numpy.bincount` for thousands of latencies at a time;
a package would be asked for each.
Minimum, maximum and sum are exact.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

RELATIVE_ERROR = 0.0025
SMALLEST_S = 1e-6
LARGEST_S = 3600.0
_LOG_GAMMA = np.log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_BUCKETS = int(np.ceil(np.log(LARGEST_S / SMALLEST_S) / _LOG_GAMMA)) + 2


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """A histogram on its way to another process: the buckets that are not empty."""

    buckets: list[int]
    counts: list[int]
    sum_s: float
    min_s: float
    max_s: float


class Histogram:
    """Latencies in seconds. Those below a microsecond count as one, those above an hour as an hour."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self.sum_s = 0.0
        self.min_s = LARGEST_S
        self.max_s = 0.0

    @property
    def count(self) -> int:
        """How many were recorded."""
        return int(self._counts.sum())

    @property
    def mean_s(self) -> float:
        """Exact; 0 if there is none."""
        return self.sum_s / count if (count := self.count) else 0.0

    def record(self, latencies_s: Sequence[float]) -> None:
        """Count them all."""
        if not latencies_s:
            return
        values = np.asarray(latencies_s, np.float64)
        positions = np.ceil(np.log(np.clip(values, SMALLEST_S, LARGEST_S) / SMALLEST_S) / _LOG_GAMMA)
        self._counts += np.bincount(positions.astype(np.int64), minlength=_BUCKETS)
        self.sum_s += float(values.sum())
        self.min_s = min(self.min_s, float(values.min()))
        self.max_s = max(self.max_s, float(values.max()))

    def add(self, counts: Counts) -> None:
        """Count what another histogram has counted."""
        if counts.buckets:
            self._counts[counts.buckets] += counts.counts
        self.sum_s += counts.sum_s
        self.min_s = min(self.min_s, counts.min_s)
        self.max_s = max(self.max_s, counts.max_s)

    def counts(self) -> Counts:
        """What `add` takes."""
        buckets = np.flatnonzero(self._counts)
        return Counts(buckets.tolist(), self._counts[buckets].tolist(), self.sum_s, float(self.min_s), self.max_s)

    def quantile_s(self, q: float) -> float:
        """The latency that a share ``q`` of all kept: within 0.25 %, and exact at 0 and 1. NaN if there is none."""
        total = self.count
        if total == 0:
            return float("nan")
        rank = max(1, int(np.ceil(q * total)))
        if rank >= total:
            return self.max_s
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle_s = SMALLEST_S * np.exp((bucket - 0.5) * _LOG_GAMMA)
        return float(np.clip(middle_s, self.min_s, self.max_s))

    def share_above(self, latency_s: float) -> float:
        """Which share took longer, within the width of a bucket; 0 if there is none."""
        total = self.count
        bucket = int(np.ceil(np.log(max(latency_s, SMALLEST_S) / SMALLEST_S) / _LOG_GAMMA))
        return float(self._counts[bucket + 1 :].sum()) / total if total else 0.0
