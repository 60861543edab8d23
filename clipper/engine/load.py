"""What a version's queries ask of its replicas, as one frontend measures it: the input of scaling."""

import math
from collections import deque
from collections.abc import Mapping

import msgspec

from clipper.abstraction.served import ServedVersion
from clipper.metrics import VersionMetrics

VersionKey = tuple[str, str]
"""(model, version)."""

WINDOW_S = 10.0
BURST_WINDOW_S = 2.0
SURE = 2.0
"""A burst counts as far as it is more than so many standard deviations above nothing (of a Poisson count)."""


class VersionLoad(msgspec.Struct, frozen=True):
    """One version at one frontend; rates are per second.

    ``arrivals_per_s`` are queries that need a replica: neither answered from the cache nor joined to another one.
    ``dropped_per_s`` of them were refused or too late (in the better half of the time: only what lasts counts),
    ``executed_per_s`` ran, and kept ``busy`` replicas busy on average. A full batch of ``batch_queries`` runs for
    ``batch_s`` (0: not known yet), a single query for ``run_s``.
    """

    arrivals_per_s: float = 0.0
    executed_per_s: float = 0.0
    dropped_per_s: float = 0.0
    busy: float = 0.0
    batch_queries: float = 1.0
    batch_s: float = 0.0
    run_s: float = 0.0
    slo_s: float = math.inf


class _Counted(msgspec.Struct, frozen=True):
    """Counters that only grow, at one moment."""

    at_s: float
    arrivals: int
    executed: float
    dropped: int
    busy_s: float


class LoadMeter:
    """Tick it about once a second; it keeps some ten samples of each version."""

    def __init__(self) -> None:
        self._samples: dict[VersionKey, deque[_Counted]] = {}

    def tick(self, metrics: Mapping[VersionKey, VersionMetrics], now_s: float) -> None:
        """Remember the counters as they are now."""
        for key, counted in metrics.items():
            samples = self._samples.setdefault(key, deque())
            samples.append(_counted(counted, now_s))
            while len(samples) > 2 and samples[1].at_s <= now_s - WINDOW_S:  # noqa: PLR2004  # two make a rate
                samples.popleft()

    def loads(self, versions: Mapping[VersionKey, ServedVersion]) -> dict[VersionKey, VersionLoad]:
        """The load of each version as of the last tick."""
        return {key: self._load(key, served) for key, served in versions.items()}

    def _load(self, key: VersionKey, served: ServedVersion) -> VersionLoad:
        batch_queries, batch_s, run_s = served.capacity()
        known = VersionLoad(batch_queries=batch_queries, batch_s=batch_s, run_s=run_s, slo_s=served.slo_s)
        samples = self._samples.get(key)
        if samples is None or len(samples) < 2:  # noqa: PLR2004  # as above
            return known
        start = _start_of(samples)
        return _with_rates(known, samples[start], samples[(start + len(samples)) // 2], samples[-1])


def _start_of(samples: deque[_Counted]) -> int:
    """Where the window begins that the rates are of: ten seconds, or the last two where these are surely busier."""
    last = samples[-1]
    burst = next(i for i, sample in enumerate(samples) if sample.at_s >= last.at_s - BURST_WINDOW_S)
    burst = min(burst, len(samples) - 2)
    mean = (last.arrivals - samples[0].arrivals) / (last.at_s - samples[0].at_s)
    arrived = last.arrivals - samples[burst].arrivals
    return burst if (arrived - SURE * math.sqrt(arrived)) / (last.at_s - samples[burst].at_s) > mean else 0


def _with_rates(known: VersionLoad, first: _Counted, middle: _Counted, last: _Counted) -> VersionLoad:
    elapsed_s = last.at_s - first.at_s
    halves = [(first, middle), (middle, last)]
    return msgspec.structs.replace(
        known,
        arrivals_per_s=(last.arrivals - first.arrivals) / elapsed_s,
        executed_per_s=(last.executed - first.executed) / elapsed_s,
        dropped_per_s=min(
            (end.dropped - begin.dropped) / (end.at_s - begin.at_s) for begin, end in halves if end.at_s > begin.at_s
        ),
        busy=(last.busy_s - first.busy_s) / elapsed_s,
    )


def _counted(metrics: VersionMetrics, now_s: float) -> _Counted:
    return _Counted(
        now_s,
        metrics.cache_misses + metrics.uncached,
        metrics.batch_size.total,
        metrics.refused + metrics.failures["deadline_exceeded"],
        metrics.model_s.total,
    )
