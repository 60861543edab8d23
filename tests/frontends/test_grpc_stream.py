"""``PredictStream``: many queries on one call."""

import asyncio

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from grpc_served import ServedGrpc, queries
from rest_wire import until

from clipper import errors
from clipper_frontends.grpc import streaming


@pytest_asyncio.fixture
async def served():
    one = await ServedGrpc().start()
    yield one
    await one.stop()


async def collect(call, count=None):
    """The answers, as many as that or all there are."""
    found = []
    while (count is None or len(found) < count) and (reply := await call.read()) is not grpc.aio.EOF:
        found += reply.predictions
    return found


async def test_answers_come_as_they_are_ready_with_the_id_of_their_query(served):
    served.engine.when = "held"
    call = served.stream()
    await call.write(queries(1, 2, 3))
    await until(lambda: len(served.engine.waiting) == 3)
    served.engine.release(served.engine.waiting[2])
    (third,) = await collect(call, 1)
    assert (third.id, third.output) == (3, b"[3.0]")
    served.engine.release_all(last_first=True)
    assert [one.id for one in await collect(call, 2)] == [2, 1]
    await call.done_writing()
    assert await collect(call) == []
    assert await call.code() is grpc.StatusCode.OK


async def test_what_was_asked_before_the_caller_stopped_sending_is_answered(served):
    served.engine.when = "held"
    call = served.stream()
    await call.write(queries(*range(10)))
    await call.done_writing()
    await until(lambda: len(served.engine.waiting) == 10)
    served.engine.release_all()
    assert [one.id for one in await collect(call)] == list(range(10))


async def test_a_query_that_is_wrong_harms_no_other(served):
    call = served.stream()
    await call.write(queries(1, app="nobody"))
    served.engine.error = None
    await call.write(queries(2))
    first, second = await collect(call, 2)
    assert (first.id, first.error.code) == (1, "unknown_application")
    assert (second.id, second.output) == (2, b"[2.0]")
    served.engine.error = errors.Overloaded("Full.", retry_after_s=0.5)
    await call.write(queries(3))
    (third,) = await collect(call, 1)
    assert (third.error.code, third.error.retry_after_ms) == ("overloaded", 500.0)
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK


async def test_answers_that_are_ready_together_travel_together(served):
    call = served.stream()
    await call.write(queries(*range(1000)))
    reply = await call.read()
    assert len(reply.predictions) == 1000
    call.cancel()


async def test_a_cancelled_stream_frees_its_queries(served):
    served.engine.when = "held"
    call = served.stream()
    await call.write(queries(*range(5)))
    await until(lambda: len(served.engine.waiting) == 5)
    call.cancel()
    await until(lambda: len(served.engine.cancelled) == 5)


async def test_what_is_no_message_ends_the_stream(served):
    call = served.stream()
    await call.write(b"\xff\xff")
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "clipper.v1.PredictStreamRequest" in await call.details()


async def test_a_stream_that_is_not_read_is_not_read_from(served, monkeypatch):
    monkeypatch.setattr(streaming, "MAX_UNDER_WAY", 10)
    served.engine.when = "held"
    call = served.stream()
    await call.write(queries(*range(11)))
    await until(lambda: len(served.engine.waiting) == 11)
    await call.write(queries(11))
    await call.done_writing()
    reading = asyncio.create_task(collect(call))
    assert len(served.engine.submitted) == 11
    while len(served.engine.submitted) < 12 or served.engine.waiting:
        served.engine.release_all()
        await asyncio.sleep(0)
    assert sorted(one.id for one in await reading) == list(range(12))


async def test_shutting_down_answers_what_was_read_and_ends_the_stream(served):
    served.engine.when = "held"
    call = served.stream()
    await call.write(queries(1, 2))
    await until(lambda: len(served.engine.waiting) == 2)
    stopping = asyncio.create_task(served.server.stop(5.0))
    await until(served.server._clipper.streams.closing.is_set)
    served.engine.release_all()
    assert [one.id for one in await collect(call, 2)] == [1, 2]
    with pytest.raises(grpc.aio.AioRpcError, match="shutting down"):
        await collect(call)
    assert await call.code() is grpc.StatusCode.UNAVAILABLE
    await stopping
