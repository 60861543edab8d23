"""A batch on its way through the engine."""

import asyncio

from rest_fakes import FakeEngine
from rest_wire import until

from clipper.domain import Query
from clipper.inputs import encode_input
from clipper_frontends.rest.submission import SUBMITTED_AT_ONCE, BatchSubmission


def queries(count: int) -> list[Query]:
    return [Query("digits", encode_input("doubles", [number]), 0.0) for number in range(count)]


async def test_a_large_batch_leaves_the_loop_turns_for_others():
    engine, replies = FakeEngine("held"), []
    BatchSubmission(engine, queries(3 * SUBMITTED_AT_ONCE), replies.append).start()
    assert len(engine.submitted) == SUBMITTED_AT_ONCE
    await until(lambda: len(engine.submitted) == 3 * SUBMITTED_AT_ONCE)
    assert not replies
    engine.release_all()
    assert len(replies) == 1


async def test_a_cancelled_batch_submits_nothing_more():
    engine, replies = FakeEngine("held"), []
    batch = BatchSubmission(engine, queries(3 * SUBMITTED_AT_ONCE), replies.append)
    batch.start()
    batch.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(engine.submitted) == len(engine.cancelled) == SUBMITTED_AT_ONCE
    assert not replies
