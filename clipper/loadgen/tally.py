"""What one process has measured since it last said so."""

from collections import defaultdict

import msgspec
import numpy as np

from clipper.loadgen.histogram import Counts, Histogram
from clipper.loadgen.outcomes import Outcome


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a run, as one process saw it.

    Attributes:
        process: Which one.
        until_s: When this part ends, in seconds from the start of the run.
        due: Queries that were due in it.
        latencies: By outcome, counted from the moment at which each query was due.
        on_time: How many of each were within the SLO.
        delays: How late queries left the generator itself: its own fault, and part of their latency.
        waits: Of the queries that found no free connection, how long they waited for one.
        cpu_s: Processor time of the process.
        connections: Open now.
    """

    process: int
    until_s: float
    due: int
    latencies: dict[Outcome, Counts]
    on_time: dict[Outcome, int]
    delays: Counts
    waits: Counts
    cpu_s: float
    connections: int


class Tally:
    """Collects single figures; a histogram is made of them when they are asked for."""

    def __init__(self, process: int, slo_s: float) -> None:
        self._process = process
        self._slo_s = slo_s
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._latencies_s: defaultdict[Outcome, list[float]] = defaultdict(list)
        self._delays_s: list[float] = []
        self._waits_s: list[float] = []

    def due(self, delay_s: float) -> None:
        """A query was due, and handed to its connection so much later."""
        self._delays_s.append(delay_s)

    def waited(self, wait_s: float) -> None:
        """A query has waited so long for a connection."""
        self._waits_s.append(wait_s)

    def done(self, outcome: Outcome, latency_s: float) -> None:
        """What became of a query, and how long after it was due."""
        self._latencies_s[outcome].append(latency_s)

    def take(self, until_s: float, cpu_s: float, connections: int) -> Measured:
        """Everything since the last time."""
        taken = Measured(
            process=self._process,
            until_s=until_s,
            due=len(self._delays_s),
            latencies={outcome: _counts(values) for outcome, values in self._latencies_s.items()},
            on_time={o: int(np.count_nonzero(np.array(s) <= self._slo_s)) for o, s in self._latencies_s.items()},
            delays=_counts(self._delays_s),
            waits=_counts(self._waits_s),
            cpu_s=cpu_s,
            connections=connections,
        )
        self._start_afresh()
        return taken


def _counts(values: list[float]) -> Counts:
    histogram = Histogram()
    histogram.record(values)
    return histogram.counts()
