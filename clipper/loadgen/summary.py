"""A run in figures: what came of the queries, how late, and whether the generator itself was in the way."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from clipper.loadgen.histogram import Counts, Histogram
from clipper.loadgen.outcomes import ANSWERED, KINDS, Kind, Outcome, code_of, kind_of
from clipper.loadgen.plan import Plan
from clipper.loadgen.tally import Measured

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)
_FULL_CORE = 0.9
_LATE_S = 0.002
"""Queries that leave later than this on account of the generator are worth a word ..."""
_LATE_SHARE = 0.01
"""... if they are so many."""


class Second(NamedTuple):
    """One second of a run, by when answers came. Quantiles are of all answers, defaults among them."""

    second: int
    due: int
    counts: dict[Kind, int]
    on_time: int
    p50_ms: float | None
    p99_ms: float | None


class Summary:
    """Grows with what the processes measure; can be read at any time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.counts: Counter[Outcome] = Counter()
        self.on_time: Counter[Outcome] = Counter()
        self.due = 0
        self.latencies: dict[Kind, Histogram] = {kind: Histogram() for kind in KINDS}
        self.delays = Histogram()
        self.waits = Histogram()
        self._until_s: dict[int, float] = {}
        self._used: dict[int, _Used] = {}
        self._connections: dict[int, int] = {}
        self._seconds: defaultdict[int, _OneSecond] = defaultdict(_OneSecond)

    def add(self, measured: Measured) -> None:
        """Take in a part of the run."""
        second = self._seconds[max(0, -int(-measured.until_s // 1) - 1)]
        second.due += measured.due
        self.due += measured.due
        self.on_time.update(measured.on_time)
        for outcome, latencies in measured.latencies.items():
            count = sum(latencies.counts)
            self.counts[outcome] += count
            self.latencies[kind_of(outcome)].add(latencies)
            second.add(outcome, latencies, count, measured.on_time[outcome])
        self.delays.add(measured.delays)
        self.waits.add(measured.waits)
        self._until_s[measured.process] = measured.until_s
        self._used.setdefault(measured.process, _Used(measured)).last = measured
        before = self._connections.get(measured.process, 0)
        self._connections[measured.process] = max(before, measured.connections)

    @property
    def elapsed_s(self) -> float:
        """How long queries have come: the whole duration, or as far as the run has got."""
        return min(self.plan.duration_s, max(self._until_s.values(), default=0.0))

    @property
    def connections(self) -> int:
        """The most that each process had open."""
        return sum(self._connections.values())

    @property
    def goodput_qps(self) -> float:
        """Answers of a model within the SLO, a second."""
        return self.per_s(self.on_time[ANSWERED])

    @property
    def generator_cpu(self) -> float:
        """The share of a core that the busiest process of the generator has used."""
        return max((used.share for used in self._used.values()), default=0.0)

    def per_s(self, count: int) -> float:
        """A count as a rate over the time in which queries came."""
        return count / self.elapsed_s if self.elapsed_s else 0.0

    def of(self, kind: Kind) -> dict[str, int]:
        """How many outcomes of a kind, by code."""
        return {code_of(o): n for o, n in sorted(self.counts.items()) if kind_of(o) == kind}

    def count(self, kind: Kind) -> int:
        """How many outcomes of a kind."""
        return sum(n for outcome, n in self.counts.items() if kind_of(outcome) == kind)

    def answers(self) -> Histogram:
        """Latencies of all answers: those of a model, and defaults."""
        both = Histogram()
        for kind in (ANSWERED, "default"):
            if self.latencies[kind].count:  # type: ignore[index]  # both are kinds
                both.add(self.latencies[kind].counts())  # type: ignore[index]  # as above
        return both

    def seconds(self) -> list[Second]:
        """The run second by second."""
        return [self._seconds[number].figures(number) for number in sorted(self._seconds)]

    def limit(self) -> str | None:
        """Sentences, if the generator, not the server, may be what was measured; with what to do about it."""
        open_loop = self.plan.rate_qps is not None
        sentences = [*_lateness(self), *_shortage(self)] if open_loop else [*_exhaustion(self)]
        return " ".join(sentences) or None

    def to_json(self) -> dict[str, Any]:
        """Everything, for a program to read. Latencies in milliseconds."""
        return {
            "seconds": round(self.elapsed_s, 3),
            "asked": self.due,
            "asked_qps": self.per_s(self.due),
            "answered_qps": self.per_s(self.count("answered")),
            "goodput_qps": self.goodput_qps,
            "on_time_share": self.on_time[ANSWERED] / self.due if self.due else None,
            "outcomes": {kind: {"count": self.count(kind), "by_code": self.of(kind)} for kind in KINDS},
            "latency_ms": {kind: in_ms(self.latencies[kind]) for kind in KINDS if self.latencies[kind].count},
            "generator": {
                "delay_ms": in_ms(self.delays) if self.delays.count else None,
                "wait_for_connection_ms": in_ms(self.waits) if self.waits.count else None,
                "waited_for_connection": self.waits.count,
                "cpu": self.generator_cpu,
                "limit": self.limit(),
            },
            "by_second": [second._asdict() for second in self.seconds()],
        }


class _Used:
    """Processor time of one process, from its first word on: what it took to start is not of the run."""

    def __init__(self, first: Measured) -> None:
        self._first = self.last = first

    @property
    def share(self) -> float:
        span_s = self.last.until_s - self._first.until_s
        return (self.last.cpu_s - self._first.cpu_s) / span_s if span_s > 0 else 0.0


class _OneSecond:
    def __init__(self) -> None:
        self.due = 0
        self._counts: Counter[Kind] = Counter()
        self._on_time = 0
        self._answers = Histogram()

    def add(self, outcome: Outcome, latencies: Counts, count: int, on_time: int) -> None:
        kind = kind_of(outcome)
        self._counts[kind] += count
        if kind in {ANSWERED, "default"}:
            self._answers.add(latencies)
        if kind == ANSWERED:
            self._on_time += on_time

    def figures(self, number: int) -> Second:
        answers = self._answers
        p50_ms, p99_ms = (answers.quantile_s(q) * 1e3 if answers.count else None for q in (0.5, 0.99))
        return Second(number, self.due, {k: self._counts[k] for k in KINDS}, self._on_time, p50_ms, p99_ms)


def in_ms(latencies: Histogram) -> dict[str, float]:
    """The figures of a histogram that people ask for."""
    quantiles = {f"p{q * 100:g}": latencies.quantile_s(q) * 1e3 for q in QUANTILES}
    return {"mean": latencies.mean_s * 1e3, **quantiles, "max": latencies.max_s * 1e3}


def _lateness(summary: Summary) -> Iterator[str]:
    late = summary.delays.share_above(_LATE_S)
    if late > _LATE_SHARE:
        busy = summary.generator_cpu > _FULL_CORE
        remedy = "take more --processes" if busy else "this machine is too busy: give the generator one of its own"
        yield (
            f"The generator was late: {late:.1%} of the queries left more than {_LATE_S * 1e3:g} ms after they "
            f"were due (P99 {summary.delays.quantile_s(0.99) * 1e3:.1f} ms), which is part of their latency; {remedy}."
        )


def _shortage(summary: Summary) -> Iterator[str]:
    waited = summary.waits.count
    if waited > _LATE_SHARE * summary.due:
        yield (
            f"{waited / summary.due:.1%} of the queries waited for one of the {summary.plan.connections} connections, "
            "which is part of their latency; take more (--concurrency) unless the real callers are as few."
        )


def _exhaustion(summary: Summary) -> Iterator[str]:
    if summary.generator_cpu > _FULL_CORE:
        yield f"The generator used {summary.generator_cpu:.0%} of a core: it may be the limit; take more --processes."
