"""Whether a canary is promoted or rolled back (pure): what both versions came to over the same time in, a verdict out.

Each second the canary is compared with the version that has the rest of the traffic, in three shares: of queries that
came to an error, of answers that came too late or took longer than a multiple of the other's P99, and the mean loss,
where feedback told it. A fixed test repeated so often would sooner or later find a difference where there is none. The
one here may be looked at whenever one likes: if both are equal, each error is the canary's with the probability of its
share of the queries, and the likelihood of what was seen, averaged over all other probabilities, ever exceeds 1/a times
the one under this one with probability a at most (Ville 1939). It is the sequential test of Lindon, Sanden and
Shirikian, "Rapid Regression Detection in Software Deployments through Sequential Testing" (KDD'22), exact for rare
errors too.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from clipper.deployment import Canary
from clipper.metrics import LATENCY_BOUNDS_S, Histogram, VersionMetrics

COMPARISONS = 3
"""They share the probability of an error (Bonferroni)."""
LEAST_FOR_P99 = 200
"""Answers of the other version, before its P99 is something to compare with."""

Certainly = Callable[[float, int, float, int], bool]
"""`certainly_more` with the tolerance and the confidence that are asked for."""


@dataclass(frozen=True)
class Tally:
    """What one version came to: ``queries`` that its replicas were asked for, ``errors`` among them.

    ``late`` queries had no answer in time, or were refused because they would have none; they are no ``errors``.
    ``latency_counts`` has the answers by time from arrival to output, in the buckets of `LATENCY_BOUNDS_S`; losses are
    between 0 and 1.
    """

    queries: int = 0
    errors: int = 0
    late: int = 0
    latency_counts: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_S) + 1)
    loss_sum: float = 0.0
    loss_count: int = 0

    def since(self, earlier: "Tally") -> "Tally":
        """What came after ``earlier``. Counters that began anew in between count from there."""
        if self.queries < earlier.queries or self.errors < earlier.errors or self.loss_count < earlier.loss_count:
            return self
        counts = zip(self.latency_counts, earlier.latency_counts, strict=True)
        return Tally(
            self.queries - earlier.queries,
            self.errors - earlier.errors,
            max(0, self.late - earlier.late),
            tuple(max(0, now - before) for now, before in counts),
            self.loss_sum - earlier.loss_sum,
            self.loss_count - earlier.loss_count,
        )

    def timed_as(self, other: "Tally") -> "Tally":
        """The same with the times of ``other``, and the answers that it had too late."""
        return replace(self, late=other.late, latency_counts=other.latency_counts)


def tally_of(metrics: VersionMetrics | None) -> Tally:
    """What the frontends have counted of a version so far. Answers out of the cache say nothing about it."""
    if metrics is None:
        return Tally()
    asked = metrics.cache_misses + metrics.cache_coalesced + metrics.uncached
    expired = metrics.failures["deadline_exceeded"]
    return Tally(
        asked,
        sum(metrics.failures.values()) - expired,
        expired + metrics.refused,
        tuple(metrics.answer_s.counts),
        metrics.loss_sum,
        metrics.loss_count,
    )


@dataclass(frozen=True)
class Verdict:
    """``wait``: nothing is certain yet, or it is too early to promote.

    ``slow`` is the number of slow answers, where these are what is worse: they come in clusters (a replica that stalls
    once is late with all that it has), so that one look does not prove what it would if each were by itself.
    """

    decision: Literal["wait", "promote", "roll back"]
    reason: str
    slow: int | None = None


def judge(canary: Canary, new: Tally, old: Tally, elapsed_s: float) -> Verdict:
    """What is to become of a canary that has served for so long.

    Args:
        canary: What was asked for.
        new: What the canary came to since it serves.
        old: What the other version came to in the same time.
        elapsed_s: The time.
    """
    certainly = partial(
        certainly_more, tolerance=canary.tolerance, confidence=1 - (1 - canary.confidence) / COMPARISONS
    )
    for compare in (_by_errors, _by_losses, _by_times):
        worse = compare(canary, new, old, certainly)
        if worse is not None:
            return worse
    told = _told(new, old)
    if new.queries < canary.min_queries:
        return Verdict("wait", f"{told}; it is promoted after {canary.min_queries} at the earliest")
    if elapsed_s < canary.duration_s:
        return Verdict("wait", f"{told}; it is promoted after {canary.duration_s:g} s if that goes on")
    return Verdict("promote", f"not worse in {elapsed_s:.0f} s: {told}")


def _told(new: Tally, old: Tally) -> str:
    if not new.queries:
        return "no queries yet"
    unanswered, others = (_percent(tally.errors + tally.late, tally.queries) for tally in (new, old))
    return f"{new.queries} queries, {unanswered} unanswered against {others}"


def _by_errors(_canary: Canary, new: Tally, old: Tally, certainly: Certainly) -> Verdict | None:
    # A call that was refused by one replica may fail at the next: more errors than queries are possible.
    errors, old_errors = min(new.errors, new.queries), min(old.errors, old.queries)
    if not certainly(errors, new.queries, old_errors, old.queries):
        return None
    failed, others = _percent(errors, new.queries), _percent(old_errors, old.queries)
    return Verdict("roll back", f"{failed} of its {new.queries} queries came to an error, against {others}")


def _by_times(canary: Canary, new: Tally, old: Tally, certainly: Certainly) -> Verdict | None:
    limit_s = _limit_s(canary, old)
    slow, count = _slow(new, limit_s)
    old_slow, old_count = _slow(old, limit_s)
    if not certainly(slow, count, old_slow, old_count):
        return None
    what = "came too late" if limit_s is None else f"took longer than {limit_s * 1e3:g} ms"
    said = f"{_percent(slow, count)} of its {count} answers {what}, against {_percent(old_slow, old_count)}"
    return Verdict("roll back", said, slow)


def _by_losses(_canary: Canary, new: Tally, old: Tally, certainly: Certainly) -> Verdict | None:
    if not certainly(new.loss_sum, new.loss_count, old.loss_sum, old.loss_count):
        return None
    mean, others = new.loss_sum / new.loss_count, old.loss_sum / old.loss_count
    return Verdict("roll back", f"its mean loss is {mean:.3g} ({new.loss_count} feedbacks), against {others:.3g}")


def _limit_s(canary: Canary, old: Tally) -> float | None:
    """The least bound of a bucket that is at least so many times the old version's P99; None: there is none yet."""
    if sum(old.latency_counts) < LEAST_FOR_P99:
        return None
    bucket = bisect_left(LATENCY_BOUNDS_S, _p99_s(old.latency_counts) * canary.max_latency_ratio)
    return LATENCY_BOUNDS_S[bucket] if bucket < len(LATENCY_BOUNDS_S) else None


def _slow(tally: Tally, limit_s: float | None) -> tuple[int, int]:
    """(answers that took longer or came too late, all of them)."""
    slower = 0 if limit_s is None else sum(tally.latency_counts[bisect_left(LATENCY_BOUNDS_S, limit_s) + 1 :])
    return slower + tally.late, sum(tally.latency_counts) + tally.late


def _p99_s(counts: Sequence[int]) -> float:
    histogram = Histogram(LATENCY_BOUNDS_S)
    histogram.counts = list(counts)
    return histogram.quantile(0.99) or 0.0


def certainly_more(
    new_sum: float, new_count: int, old_sum: float, old_count: int, *, tolerance: float, confidence: float
) -> bool:
    """Whether something befalls the new more often than the old, and by more than ``tolerance``; see the module.

    Args:
        new_sum: How often it befell the new, or the sum of its losses, each between 0 and 1. (A loss of x says at most
            as much as one of 1 in x of the cases, because r^x <= 1 + x (r - 1).)
        new_count: Of so many.
        old_sum: The same of the old.
        old_count: The same of the old.
        tolerance: A difference of the two shares up to this is none.
        confidence: That it errs at no look, if there is no difference.
    """
    if not new_count or not old_count or new_sum / new_count - old_sum / old_count <= tolerance:
        return False
    share = new_count / (new_count + old_count)
    log_mixture = math.lgamma(1 + new_sum) + math.lgamma(1 + old_sum) - math.lgamma(2 + new_sum + old_sum)
    log_equal = new_sum * math.log(share) + old_sum * math.log(1 - share)
    return log_mixture - log_equal >= -math.log(1 - confidence)


def _percent(part: float, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "nothing"
