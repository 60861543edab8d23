"""One view out of what several frontends measure. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from clipper.metrics import FeedbackMetrics, added_up
from clipper_frontends.rest.exposition import Measured

LIVE = "live_"
"""Gauges whose names begin so count what is under way: they add up."""

HELD = "held_"
"""Those that begin so count what is kept in memory, and add up too. Of all others the largest says most."""

K = TypeVar("K")


def merged(first: Measured, others: Sequence[Measured], past: Measured) -> Measured:
    """What the frontends of a server measure together.

    Args:
        first: Of the frontend beside the controller: it follows the configuration first, so applications that it does
            not serve any more are left out; replicas are shared, and it is asked for their states.
        others: Of the further frontends that run.
        past: Counters of further frontends that ended. A counter never goes back.
    """
    if not others and not past.versions and not past.applications and not past.refused:
        return first
    frontends = (first, *others)
    counted = retained(past, *frontends)
    return Measured(
        applications={name: m for name, m in counted.applications.items() if name in first.applications},
        versions=counted.versions,
        refused=counted.refused,
        feedback=counted.feedback,
        replicas=first.replicas,
        queued=_sums(frontend.queued for frontend in frontends),
        in_flight=_sums(frontend.in_flight for frontend in frontends),
        cache_bytes=sum(frontend.cache_bytes for frontend in frontends),
        cache_entries=sum(frontend.cache_entries for frontend in frontends),
        ready=all(frontend.ready for frontend in frontends),
        revision=min(frontend.revision for frontend in frontends),
        further=_gauges(frontend.further for frontend in frontends),
    )


def retained(*parts: Measured) -> Measured:
    """The counters of all parts, without the gauges: what is kept of a frontend that ended."""
    return Measured(
        applications=added_up(part.applications for part in parts),
        versions=added_up(part.versions for part in parts),
        refused=_sums(part.refused for part in parts),
        feedback=_feedback(parts),
    )


def _feedback(parts: Iterable[Measured]) -> FeedbackMetrics:
    total = FeedbackMetrics()
    for part in parts:
        total.add(part.feedback)
    return total


def _sums(parts: Iterable[Mapping[K, int]]) -> dict[K, int]:
    total: Counter[K] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def _gauges(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            if name not in total:
                total[name] = value
            else:
                total[name] = total[name] + value if name.startswith((LIVE, HELD)) else max(total[name], value)
    return total
