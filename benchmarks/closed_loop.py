"""A load generator on the engine: so many queries are always under way, each answer makes room for the next one."""

import asyncio
import struct
import time
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipper.domain import Query
from clipper.engine import Answer, Engine

PAUSE_AFTER_REFUSAL_S = 0.005
"""A refused caller that came back at once would only measure refusals."""


class Outcome(NamedTuple):
    """One run. ``latency_s`` is of the answers by the model, sorted; ``refused`` counts everything else by its code."""

    outstanding: int
    seconds: float
    latency_s: NDArray[np.float64]
    refused: Counter[str]
    mean_batch: float

    @property
    def qps(self) -> float:
        """Answers by the model a second."""
        return len(self.latency_s) / self.seconds

    def quantile_ms(self, q: float) -> float:
        """A quantile of the latency of answers by the model."""
        return float(np.quantile(self.latency_s, q)) * 1e3 if len(self.latency_s) else float("inf")

    def on_time(self, slo_s: float) -> float:
        """Share of all queries that the model answered within the SLO."""
        asked = len(self.latency_s) + self.refused.total()
        return float(np.searchsorted(self.latency_s, slo_s, "right")) / asked if asked else 0.0


class ClosedLoop:
    """Queries one application. Every query is new: the first number of a row from the pool is replaced by a count."""

    def __init__(self, engine: Engine, application: str, pool: NDArray[np.float64]) -> None:
        self._engine = engine
        self._application = application
        self._tails = [row.astype("<f8").tobytes()[8:] for row in pool]
        self._asked = 0
        self._latency_s: list[float] = []
        self._refused: Counter[str] = Counter()
        self._until_s = 0.0
        self._under_way = 0
        self._all_answered = asyncio.Event()

    async def run(self, outstanding: int, seconds: float) -> Outcome:
        """Keep ``outstanding`` queries under way for that long; the last answers are waited for and counted."""
        batches = self._engine.fleet.metrics[self._application, "1"].batch_size
        batches_before, queries_before = batches.count, batches.total
        self._latency_s, self._refused = [], Counter()
        started_s = time.monotonic()
        self._until_s = started_s + seconds
        self._under_way = outstanding
        self._all_answered.clear()
        loop = asyncio.get_running_loop()
        for _ in range(outstanding):
            loop.call_soon(self._ask)
        await self._all_answered.wait()
        batch_count = batches.count - batches_before
        return Outcome(
            outstanding,
            time.monotonic() - started_s,
            np.sort(self._latency_s),
            self._refused,
            (batches.total - queries_before) / max(1, batch_count),
        )

    def _ask(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._until_s:
            self._under_way -= 1
            if self._under_way == 0:
                self._all_answered.set()
            return
        self._asked += 1
        row = struct.pack("<d", self._asked) + self._tails[self._asked % len(self._tails)]
        self._engine.submit(Query(self._application, row, now_s), lambda answer: self._answered(answer, now_s))

    def _answered(self, answer: Answer, asked_s: float) -> None:
        loop = asyncio.get_running_loop()
        if answer.error is None:
            self._latency_s.append(time.monotonic() - asked_s)
            loop.call_soon(self._ask)
        else:
            self._refused[answer.error.code] += 1
            loop.call_later(PAUSE_AFTER_REFUSAL_S, self._ask)
