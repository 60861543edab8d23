"""Train, deploy, query, lose a replica, roll out a better version: 20,000 real queries, none of them lost.

Run: `make demo`.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import counters
import digits
import report
from load import OpenLoop
from report import Phase
from rich.console import Console

import clipper

QUERIES = 20_000
RATE_QPS = 1_250.0
SLO_MS = 20.0
DEFAULT_OUTPUT = -1
REPLICAS = 2
MODELS = ("decision tree", "logistic regression", "support vector machine")
KILL_AT = 3_000
ROLL_OUT_AT = 8_000

out = Console() if sys.stdout.isatty() else Console(width=130)


def main() -> int:
    out.rule("Clipper demo: handwritten digits")
    data = digits.load()
    trained = digits.train(data, MODELS)
    out.print(f"Trained on {len(data.train)} digits; accuracy on the {len(data.held_out)} that are held out:")
    for model in trained:
        out.print(f"  {model.name:<24} {model.accuracy:.1%}")
    worst, best = trained[0], trained[-1]
    with clipper.local() as connection:
        out.print(f"\nA server is up at {connection.session.query_url}.")
        out.print(f"Deploying the {worst.name} with {REPLICAS} replicas ...")
        deploy(connection, 1, worst, data.train[0])
        connection.register_application(
            "digits", input_type="doubles", slo_ms=SLO_MS, default_output=DEFAULT_OUTPUT, models=["digits"]
        )
        return asyncio.run(Story(connection, data, best).tell())


def deploy(connection: clipper.Connection, version: int, model: digits.Trained, example: Sequence[float]) -> None:
    connection.deploy_model(
        "digits", version, model.estimator, input_type="doubles", num_replicas=REPLICAS, example_input=list(example)
    )


class Story:
    """The load, and what happens to the server while it lasts."""

    def __init__(self, connection: clipper.Connection, data: digits.Digits, better: digits.Trained) -> None:
        self.connection = connection
        self.data = data
        self.better = better
        rows, self.labels = digits.queries(data, QUERIES)
        bodies = [json.dumps({"input": row.tolist()}).encode() for row in rows]
        self.load = OpenLoop(f"{connection.session.query_url}/digits/predict", bodies, RATE_QPS)
        self.phases: list[Phase] = []

    async def tell(self) -> int:
        """Everything in its order; returns the exit status, 0 if no answer was lost."""
        out.print(f"Sending {QUERIES:,} held-out digits, {RATE_QPS:,.0f} a second, SLO {SLO_MS:g} ms ...\n")
        self.phases.append(await self._phase("version 1", first=0))
        # A garbage collection over scikit-learn's modules would stop the client for a tenth of a second.
        gc.collect()
        gc.freeze()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.load.run())
            await self.load.reached(KILL_AT)
            await self._kill_a_replica()
            await self.load.reached(ROLL_OUT_AT)
            await self._roll_out()
        end = await self._phase("end", first=QUERIES)
        return self._report(end)

    async def _kill_a_replica(self) -> None:
        self.phases.append(await self._phase("one replica killed"))
        victim = (await asyncio.to_thread(self.connection.get_all_model_replicas))[0]
        os.kill(victim["pid"], signal.SIGKILL)
        killed_s = time.monotonic()
        out.print(f"query {self.load.sent:,}: kill -9 {victim['pid']} (replica {victim['replica_id']})")
        while (reason := await asyncio.to_thread(self._why_replaced, victim)) is None:  # noqa: ASYNC110  # HTTP has no event for it
            await asyncio.sleep(0.05)
        out.print(f"query {self.load.sent:,}: the server says why: {reason}")
        out.print(f"query {self.load.sent:,}: {REPLICAS} replicas again after {time.monotonic() - killed_s:.1f} s")

    def _why_replaced(self, victim: dict[str, Any]) -> str | None:
        """What the server says about the end of ``victim``, once another process is ready in its place."""
        for replica in self.connection.get_all_model_replicas():
            if replica["replica_id"] == victim["replica_id"]:
                replaced = replica["state"] == "ready" and replica["pid"] != victim["pid"]
                return str(replica["reason"]) if replaced else None
        return None

    async def _roll_out(self) -> None:
        self.phases.append(await self._phase("version 2 starts"))
        out.print(f"query {self.load.sent:,}: deploying the {self.better.name} as version 2")
        started_s = time.monotonic()
        await asyncio.to_thread(deploy, self.connection, 2, self.better, self.data.train[0])
        out.print(f"query {self.load.sent:,}: version 2 has the traffic after {time.monotonic() - started_s:.1f} s\n")
        self.phases.append(await self._phase("version 2"))

    async def _phase(self, name: str, first: int | None = None) -> Phase:
        counted = await asyncio.to_thread(counters.read, self.connection.session.query_url, SLO_MS)
        return Phase(name, self.load.sent if first is None else first, counted)

    def _report(self, end: Phase) -> int:
        replies = self.load.replies
        out.print(report.table(self.phases, end, replies, self.labels, RATE_QPS))
        lost = report.lost(replies, QUERIES)
        if self.phases[-1].first < QUERIES:
            out.print(f"Accuracy {self._accuracy_of(0):.1%} before, {self._accuracy_of(-1):.1%} after the roll-out.")
        else:
            out.print("This machine is so busy that version 2 was ready only after the last query; try again.")
        in_time = end.counters.on_time / end.counters.queries
        out.print(f"In the server, from request to answer: {in_time:.2%} within the SLO of {SLO_MS:g} ms.")
        out.print(f"Not answered by a model: {report.reasons(replies)}. [bold]Lost answers: {lost}.[/bold]")
        return 0 if lost == 0 else 1

    def _accuracy_of(self, phase: int) -> float:
        first = self.phases[phase].first
        last = self.phases[1].first if phase == 0 else QUERIES
        return report.accuracy([r for r in self.load.replies if first <= r.index < last], self.labels)


if __name__ == "__main__":
    sys.exit(main())
