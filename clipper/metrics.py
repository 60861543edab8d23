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


class SelectionMetrics:
    """Of what an application's policy chose and combined.

    ``choices`` counts by ``model:version`` the queries that were given to it; ``missing`` by (model:version, error
    code) the members whose output an ensemble had to do without; ``ejections`` by ``model:version`` the times that it
    was left alone for a while; ``fallbacks`` by what the policy failed in; ``combined`` the answers out of two outputs
    or more, ``disagreements`` those of them whose outputs were not all the same; ``unknown_users`` the queries whose
    user could not be read from the store in time.
    """

    __slots__ = ("choices", "combined", "disagreements", "ejections", "fallbacks", "missing", "unknown_users")

    def __init__(self) -> None:
        self.choices: Counter[str] = Counter()
        self.missing: Counter[tuple[str, str]] = Counter()
        self.ejections: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self.combined = 0
        self.disagreements = 0
        self.unknown_users = 0

    def add(self, other: "SelectionMetrics") -> None:
        """Count what another frontend has counted."""
        self.choices.update(other.choices)
        self.missing.update(other.missing)
        self.ejections.update(other.ejections)
        self.fallbacks.update(other.fallbacks)
        self.combined += other.combined
        self.disagreements += other.disagreements
        self.unknown_users += other.unknown_users


class ApplicationMetrics:
    """Of one application.

    ``latency_s`` has every query that got an answer, a default or an error; ``unanswered`` counts by (outcome, cause)
    those that got no answer of a model: ("default", code), ("error", code), ("cancelled", ""). The rest was answered.
    ``feedback`` counts what came of feedback: "accepted", or the code of the error that refused it; ``loss_sum`` and
    ``loss_count`` are of the answers that were given, defaults included, where a label said what was right.
    """

    __slots__ = ("feedback", "latency_s", "loss_count", "loss_sum", "selection", "unanswered")

    def __init__(self) -> None:
        self.unanswered: Counter[tuple[str, str]] = Counter()
        self.latency_s = Histogram(LATENCY_BOUNDS_S)
        self.feedback: Counter[str] = Counter()
        self.loss_sum = 0.0
        self.loss_count = 0
        self.selection = SelectionMetrics()

    @property
    def outcomes(self) -> Counter[tuple[str, str]]:
        """All queries by (outcome, cause); ("answered", "") are those with an answer of a model."""
        failed = sum(count for (outcome, _), count in self.unanswered.items() if outcome != "cancelled")
        answered = self.latency_s.count - failed
        return self.unanswered + Counter({("answered", ""): answered})

    def add(self, other: "ApplicationMetrics") -> None:
        """Count what another frontend has counted."""
        self.unanswered.update(other.unanswered)
        self.latency_s.add(other.latency_s)
        self.feedback.update(other.feedback)
        self.loss_sum += other.loss_sum
        self.loss_count += other.loss_count
        self.selection.add(other.selection)


class FeedbackMetrics:
    """Of the way of feedback into the store: how long a durable commit takes, and how many records share one."""

    __slots__ = ("commit_s", "failed_commits", "group_size")

    def __init__(self) -> None:
        self.commit_s = Histogram(LATENCY_BOUNDS_S)
        self.group_size = Histogram(BATCH_SIZE_BOUNDS)
        self.failed_commits = 0

    def add(self, other: "FeedbackMetrics") -> None:
        """Count what another frontend has counted."""
        self.commit_s.add(other.commit_s)
        self.group_size.add(other.group_size)
        self.failed_commits += other.failed_commits


class VersionMetrics:
    """Of one model version: cache, queue, batches, failures, and the losses that feedback gave its outputs.

    ``uncached`` counts the queries while nothing is kept; ``answer_s`` has the time from arrival to output of what was
    executed, while a canary is compared (`Landing.time_answers`).
    """

    __slots__ = (
        "answer_s",
        "batch_size",
        "cache_coalesced",
        "cache_evicted",
        "cache_hits",
        "cache_misses",
        "ejections",
        "failures",
        "loss_count",
        "loss_sum",
        "model_s",
        "queue_s",
        "refused",
        "retries",
        "uncached",
    )

    def __init__(self) -> None:
        self.uncached = 0
        self.cache_hits = 0
        self.cache_misses = 0
        self.cache_coalesced = 0
        self.cache_evicted = 0
        self.retries = 0
        self.ejections = 0
        self.refused = 0
        self.loss_sum = 0.0
        self.loss_count = 0
        self.failures: Counter[str] = Counter()
        self.batch_size = Histogram(BATCH_SIZE_BOUNDS)
        self.queue_s = Histogram(LATENCY_BOUNDS_S)
        self.model_s = Histogram(LATENCY_BOUNDS_S)
        self.answer_s = Histogram(LATENCY_BOUNDS_S)

    def add(self, other: "VersionMetrics") -> None:
        """Count what another frontend has counted."""
        self.uncached += other.uncached
        self.cache_hits += other.cache_hits
        self.cache_misses += other.cache_misses
        self.cache_coalesced += other.cache_coalesced
        self.cache_evicted += other.cache_evicted
        self.retries += other.retries
        self.ejections += other.ejections
        self.refused += other.refused
        self.loss_sum += other.loss_sum
        self.loss_count += other.loss_count
        self.failures.update(other.failures)
        self.batch_size.add(other.batch_size)
        self.queue_s.add(other.queue_s)
        self.model_s.add(other.model_s)
        self.answer_s.add(other.answer_s)


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
