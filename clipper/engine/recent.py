"""What happened lately: rates and percentiles over the last seconds, out of counters that only grow."""

from collections import Counter, deque
from typing import Any

import msgspec

from clipper.metrics import ApplicationMetrics, VersionMetrics

WINDOW_S = 10.0


class _Sample(msgspec.Struct):
    at_s: float
    latency_counts: list[int]
    outcomes: Counter[tuple[str, str]]


class RecentQueries:
    """The last `WINDOW_S` seconds of one application. Tick it about once a second; it keeps some ten samples."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()

    def tick(self, metrics: ApplicationMetrics, now_s: float) -> None:
        """Remember the counters as they are now."""
        self._forget_another(metrics)
        self._samples.append(_Sample(now_s, list(metrics.latency_s.counts), Counter(metrics.outcomes)))
        while len(self._samples) > 1 and self._samples[0].at_s < now_s - WINDOW_S:
            self._samples.popleft()

    def describe(self, metrics: ApplicationMetrics, now_s: float) -> dict[str, Any]:
        """Queries a second, percentiles in milliseconds (None without queries), outcomes lately and in total."""
        self._forget_another(metrics)
        latency = metrics.latency_s
        oldest = self._samples[0] if self._samples else None
        since = oldest.latency_counts if oldest else None
        answered = latency.count - sum(since or ())
        elapsed_s = max(now_s - oldest.at_s, 1e-3) if oldest else WINDOW_S
        recent = metrics.outcomes - oldest.outcomes if oldest else metrics.outcomes
        return {
            "qps": round(answered / elapsed_s, 1),
            "p50_ms": _milliseconds(latency.quantile(0.5, since)),
            "p99_ms": _milliseconds(latency.quantile(0.99, since)),
            "recent": _by_cause(recent),
            "total": _by_cause(metrics.outcomes),
            "feedback": dict(metrics.feedback),
            "mean_loss": _mean(metrics.loss_sum, metrics.loss_count),
        }

    def _forget_another(self, metrics: ApplicationMetrics) -> None:
        """Counters that went back are those of an application that was made anew under the same name."""
        if self._samples and metrics.latency_s.count < sum(self._samples[-1].latency_counts):
            self._samples.clear()


def describe_version(metrics: VersionMetrics) -> dict[str, Any]:
    """Totals of one version as people read them."""
    batches = metrics.batch_size.count
    looked_up = metrics.cache_hits + metrics.cache_misses + metrics.cache_coalesced
    return {
        "queries": looked_up + metrics.uncached,
        "batches": batches,
        "mean_batch": round(metrics.batch_size.total / batches, 2) if batches else None,
        "cache_hit_rate": round(metrics.cache_hits / looked_up, 4) if looked_up else None,
        "queue_p99_ms": _milliseconds(metrics.queue_s.quantile(0.99)),
        "model_p99_ms": _milliseconds(metrics.model_s.quantile(0.99)),
        "refused": metrics.refused,
        "retries": metrics.retries,
        "ejections": metrics.ejections,
        "failures": dict(metrics.failures),
        "feedbacks": metrics.loss_count,
        "mean_loss": _mean(metrics.loss_sum, metrics.loss_count),
    }


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 6) if count else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)


def _by_cause(outcomes: Counter[tuple[str, str]]) -> dict[str, int]:
    return {outcome if not cause else f"{outcome}:{cause}": n for (outcome, cause), n in sorted(outcomes.items()) if n}
