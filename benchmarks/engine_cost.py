"""What one query costs the engine, by policy: microseconds through `Engine.submit`, with replicas that cost nothing.

``python benchmarks/engine_cost.py [--queries N] [--rounds N]``. Links, sockets and HTTP are left out: what remains is
selection, cache, queue, batching, and the making of query ids. Each query has an input of its own. Callers that are
spread over four models make batches of a quarter: `single` with a quarter of the callers tells what that alone costs.
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import uvloop

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.served import ServedVersion
from clipper.abstraction.timers import LoopTimers
from clipper.domain import Application, Desired, Model, Observed, Query, Replica, Snapshot, Version, VersionSpec
from clipper.engine import Answer, Engine
from clipper.engine.fleet import Fleet
from clipper.engine.selection import Selection
from clipper.engine.token import TokenKey
from clipper.metrics import VersionMetrics
from clipper.rpc.contract import BatchReply, Hello

MODELS = ("a", "b", "c", "d")
SLO_MS = 60_000
"""Out of reach: what is measured is the cost, on a machine that may be busy otherwise."""


class Case(NamedTuple):
    """So many callers of an application, each of whom asks again as soon as it has its answer."""

    policy: str
    models: int
    callers: int = 64

    @property
    def application(self) -> str:
        """Its name."""
        return f"{self.policy}-{self.models}"


CASES = (Case("single", 1), Case("exp3", 1), Case("single", 1, callers=16), Case("exp3", 4), Case("exp4", 4))


class InstantLink:
    """A replica that answers in the next turn of the loop."""

    def __init__(self, version: Version, replica_id: str, events: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.replica_id = replica_id
        self.hello = Hello(version.model, "1", 1, replica_id, "noop", "doubles", None, [], 1, "0")
        self._events = events
        self._loop = loop
        loop.call_soon(events.on_ready, self)

    def send(self, batch_id: int, rows: Sequence[bytes], deadlines_s: Sequence[float]) -> None:  # noqa: ARG002  # the link's shape
        """See `clipper.rpc.contract.Link`."""
        self._loop.call_soon(self._events.on_reply, self, batch_id, BatchReply([b"3"] * len(rows), 0.0, 0.0))

    def close(self) -> None:
        """There is nothing to close."""


def make_engine(loop: asyncio.AbstractEventLoop) -> Engine:
    timers = LoopTimers(loop)
    cache = PredictionCache(1 << 24)

    def serve(version: Version, metrics: VersionMetrics) -> ServedVersion:
        return ServedVersion(
            version,
            cache=cache,
            timers=timers,
            dial=lambda _address, replica_id, events: InstantLink(version, replica_id, events, loop),
            metrics=metrics,
            margin_s=0.001,
            max_queue_length=100_000,
            slo_s=SLO_MS / 1e3,
        )

    selection = Selection(timers)
    selection.token_key = TokenKey(b"k" * 32)
    return Engine(Fleet(cache, serve), selection)


def snapshot() -> Snapshot:
    spec = VersionSpec(version="1", input_type="doubles")
    return Snapshot(
        revision=1,
        desired=Desired(
            applications={
                case.application: Application(
                    name=case.application,
                    input_type="doubles",
                    slo_ms=SLO_MS,
                    policy=case.policy,
                    models=MODELS[: case.models],
                )
                for case in CASES
            },
            models={model: Model(name=model, target="1") for model in MODELS},
            versions={model: {"1": Version(model=model, spec=spec, generation=1)} for model in MODELS},
        ),
        observed=Observed(
            current=dict.fromkeys(MODELS, "1"),
            replicas={
                model: Replica(
                    replica_id=model,
                    model=model,
                    version="1",
                    generation=1,
                    host_id="h",
                    address="",
                    state="ready",
                )
                for model in MODELS
            },
        ),
    )


class ClosedLoop:
    """One run of a case."""

    def __init__(self, engine: Engine, case: Case, queries: int) -> None:
        self._engine = engine
        self._application = case.application
        self._callers = case.callers
        self._left = queries
        self._answered = 0
        self._queries = queries
        self._done = asyncio.get_running_loop().create_future()
        self._salt = time.perf_counter_ns().to_bytes(8, "little")

    async def run(self) -> float:
        """Seconds per query."""
        started_s = time.process_time()
        for _ in range(self._callers):
            self._ask()
        await self._done
        return (time.process_time() - started_s) / self._queries

    def _ask(self) -> None:
        self._left -= 1
        row = self._left.to_bytes(8, "little") + self._salt + bytes(64)
        self._engine.submit(Query(self._application, row, time.monotonic()), self._on_answer)

    def _on_answer(self, answer: Answer) -> None:
        if answer.error is not None:
            self._left = 0
            if not self._done.done():
                self._done.set_exception(answer.error)
            return
        self._answered += 1
        if self._left > 0:
            self._ask()
        elif self._answered == self._queries:
            self._done.set_result(None)


async def measure(queries: int, rounds: int) -> dict[Case, float]:
    engine = make_engine(asyncio.get_running_loop())
    engine.apply(snapshot())
    await asyncio.sleep(0)
    assert engine.ready()[0]
    gc.collect()
    gc.freeze()
    best = dict.fromkeys(CASES, float("inf"))
    for _ in range(rounds):
        for case in CASES:
            best[case] = min(best[case], await ClosedLoop(engine, case, queries).run())
    engine.close()
    return best


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--queries", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    best = uvloop.run(measure(chosen.queries, chosen.rounds))
    for case, seconds in best.items():
        who = f"{case.policy}, {case.models} models, {case.callers} callers"
        print(f"{who:32} {seconds * 1e6:7.2f} us a query   {best[CASES[0]] / seconds:5.2f} of the first one's rate")


if __name__ == "__main__":
    main()
