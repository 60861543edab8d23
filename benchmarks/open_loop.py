"""A load generator on the engine: queries come at random moments, whether or not those before have been answered."""

import asyncio
import gc
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from clipper.domain import Query
from clipper.engine import Answer, Engine


class Answered(NamedTuple):
    """What came of query ``index``; the latency counts from the moment at which it was due."""

    index: int
    latency_s: float
    answer: Answer


async def run_open_loop(
    engine: Engine, application: str, rows: Sequence[bytes], rate_qps: float, seed: int
) -> list[Answered]:
    """Ask all ``rows``, on average ``rate_qps`` of them a second (Poisson); returns when the last is answered."""
    loop = asyncio.get_running_loop()
    chance = random.Random(seed)  # noqa: S311  # seeded, so that the load comes again
    answered: list[Answered] = []
    all_answered = asyncio.Event()
    due_s = loop.time()

    def ask(index: int, due_s: float) -> None:
        query = Query(application, rows[index], time.monotonic())
        engine.submit(query, lambda answer: note(index, due_s, answer))

    def note(index: int, due_s: float, answer: Answer) -> None:
        answered.append(Answered(index, loop.time() - due_s, answer))
        if len(answered) == len(rows):
            all_answered.set()

    gc.collect()
    for index in range(len(rows)):
        due_s += chance.expovariate(rate_qps)
        loop.call_at(due_s, ask, index, due_s)
    await all_answered.wait()
    return answered
