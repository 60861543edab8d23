"""Counters of the hot path: plain integers, incremented where things happen, read when somebody asks.

A Prometheus client's own counters take locks and label lookups at each increment (about 2 us for a histogram); these
take some 0.1 us. The exposition (`clipper_frontends.rest.exposition`) turns them into Prometheus families at scrape
time.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

LATENCY_BOUNDS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2,
    0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
BATCH_SIZE_BOUNDS = tuple(float(2**i) for i in range(13))


class Histogram:
    """Cumulative-on-read buckets, upper bounds inclusive, with sum and count."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count ``value``, ``times`` times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def observe_all(self, values: list[float]) -> None:
        """Count each of ``values``, which it sorts: far cheaper than one by one when many fall into one bucket."""
        values.sort()
        self.total += sum(values)
        done, bucket = 0, bisect_left(self.bounds, values[0]) if values else 0
        while done < len(values):
            below = bisect_right(values, self.bounds[bucket], done) if bucket < len(self.bounds) else len(values)
            self.counts[bucket] += below - done
            done = below
            bucket += 1

    def add(self, other: "Histogram") -> None:
        """Count what ``other``, of the same bounds, has counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)

    def quantile(self, q: float, since: Sequence[int] | None = None) -> float | None:
        """An estimate of the ``q`` quantile, linear inside its bucket; None without observations.

        ``since`` is an earlier copy of ``counts``: only what came after it is regarded.
        """
        counts = self.counts if since is None else [new - old for new, old in zip(self.counts, since, strict=True)]
        rank = q * sum(counts)
        if rank <= 0:
            return None
        below = 0
        for i, n in enumerate(counts):
            if below + n >= rank:
                low = self.bounds[i - 1] if i else 0.0
                high = self.bounds[i] if i < len(self.bounds) else low
                return low + (high - low) * (rank - below) / n
            below += n
        return self.bounds[-1]


class ApplicationMetrics:
    """Of one application.

    ``outcomes`` counts (outcome, cause): ("answered", ""), ("default", code), ("error", code), ("cancelled", "").
    """

    __slots__ = ("latency_s", "outcomes")

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.latency_s = Histogram(LATENCY_BOUNDS_S)

    def add(self, other: "ApplicationMetrics") -> None:
        """Count what another frontend has counted."""
        self.outcomes.update(other.outcomes)
        self.latency_s.add(other.latency_s)


class VersionMetrics:
    """Of one model version: cache, queue, batches, failures."""

    __slots__ = (
        "batch_size",
        "cache_coalesced",
        "cache_evicted",
        "cache_hits",
        "cache_misses",
        "ejections",
        "failures",
        "model_s",
        "queue_s",
        "refused",
        "retries",
    )

    def __init__(self) -> None:
        self.cache_hits = 0
        self.cache_misses = 0
        self.cache_coalesced = 0
        self.cache_evicted = 0
        self.retries = 0
        self.ejections = 0
        self.refused = 0
        self.failures: Counter[str] = Counter()
        self.batch_size = Histogram(BATCH_SIZE_BOUNDS)
        self.queue_s = Histogram(LATENCY_BOUNDS_S)
        self.model_s = Histogram(LATENCY_BOUNDS_S)

    def add(self, other: "VersionMetrics") -> None:
        """Count what another frontend has counted."""
        self.cache_hits += other.cache_hits
        self.cache_misses += other.cache_misses
        self.cache_coalesced += other.cache_coalesced
        self.cache_evicted += other.cache_evicted
        self.retries += other.retries
        self.ejections += other.ejections
        self.refused += other.refused
        self.failures.update(other.failures)
        self.batch_size.add(other.batch_size)
        self.queue_s.add(other.queue_s)
        self.model_s.add(other.model_s)


K = TypeVar("K")
M = TypeVar("M", ApplicationMetrics, VersionMetrics)


def added_up(parts: Iterable[Mapping[K, M]]) -> dict[K, M]:
    """The sums, by key, of what several frontends counted; the parts stay as they are."""
    total: dict[K, M] = {}
    for part in parts:
        for key, metrics in part.items():
            if key not in total:
                total[key] = type(metrics)()
            total[key].add(metrics)
    return total
