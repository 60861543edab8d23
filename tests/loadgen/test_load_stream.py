"""The caller of the load generator that asks over one gRPC stream, against a service that does as it is told."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from clipper.errors import Unreachable
from clipper.loadgen import InputSource
from clipper.loadgen.grpc_messages import messages, open_queries
from clipper.loadgen.grpc_stream_caller import GrpcStreamCaller

QUERIES = open_queries("app", InputSource(input_type="doubles", width=2), 0)


class Service:
    """Answers queries in messages of their own; ``silent`` are not answered, ``fatal`` ends the stream."""

    def __init__(self, silent=(), fatal=()):
        self.silent = set(silent)
        self.fatal = set(fatal)
        self.streams = 0

    async def serve(self, _requests, context):
        self.streams += 1
        while (data := await context.read()) is not grpc.aio.EOF:
            ids = [query.id for query in messages.PredictStreamRequest.FromString(data).queries]
            for number in reversed(ids):
                if number in self.fatal:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "Going away.")
                if number not in self.silent:
                    reply = messages.PredictStreamReply(predictions=[messages.Prediction(output=b"1", id=number)])
                    await context.write(reply.SerializeToString())


class Asked:
    """A caller and what became of its queries."""

    def __init__(self, address, **limits):
        self.waits_s = []
        self.now_s = 0.0
        self.changed = asyncio.Event()
        options = {"max_queries": 100, "timeout_s": 30.0} | limits
        self.caller = GrpcStreamCaller(
            address,
            QUERIES,
            options["max_queries"],
            options["timeout_s"],
            self.done,
            self.waits_s.append,
            clock=lambda: self.now_s,
        )
        self.counts = Counter()

    def done(self, outcome, latency_s):
        assert latency_s >= 0
        self.counts[outcome] += 1
        self.changed.set()

    def ask(self, *numbers):
        for number in numbers:
            self.caller.ask(number, self.now_s)

    async def until(self, count):
        while self.counts.total() < count:
            self.changed.clear()
            await self.changed.wait()
        return dict(self.counts)


@asynccontextmanager
async def asked(service, **limits):
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(service.serve)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("clipper.v1.Clipper", {"PredictStream": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    one = Asked(f"127.0.0.1:{port}", **limits)
    await one.caller.open()
    try:
        yield one
    finally:
        await one.caller.close()
        assert one.caller.under_way == 0
        await server.stop(None)


async def test_answers_find_their_queries_in_whatever_order_they_come():
    async with asked(service := Service()) as one:
        one.ask(*range(50))
        assert await one.until(50) == {"answered": 50}
    assert service.streams == 1
    assert one.waits_s == []


async def test_queries_beyond_the_limit_wait_for_those_before_them():
    async with asked(Service(), max_queries=3) as one:
        one.ask(*range(10))
        assert await one.until(10) == {"answered": 10}
    assert len(one.waits_s) == 7


async def test_a_stream_that_breaks_loses_what_is_under_way_and_the_next_one_serves():
    async with asked(service := Service(fatal={3}, silent={0, 1, 2})) as one:
        one.ask(0, 1, 2, 3)
        assert await one.until(4) == {"lost:grpc_unavailable": 4}
        one.ask(4)
        assert await one.until(5) == {"lost:grpc_unavailable": 4, "answered": 1}
    assert service.streams == 2


async def test_a_query_without_an_answer_is_given_up_and_makes_room():
    async with asked(Service(silent={0}), max_queries=1, timeout_s=5.0) as one:
        one.ask(0)
        one.now_s = 6.0
        assert await one.until(1) == {"lost:timeout": 1}
        one.ask(1)
        assert await one.until(2) == {"lost:timeout": 1, "answered": 1}


async def test_what_is_under_way_when_it_is_closed_is_interrupted():
    async with asked(Service(silent={0, 1}), max_queries=1) as one:
        one.ask(0, 1)
    assert one.counts == {"lost:interrupted": 2}


async def test_without_a_server_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr("clipper.loadgen.grpc_stream_caller.CONNECT_TIMEOUT_S", 0.2)
    with pytest.raises(Unreachable, match=r"Cannot reach 127\.0\.0\.1:9 for gRPC"):
        await Asked("127.0.0.1:9").caller.open()
