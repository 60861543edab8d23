"""Requests of both roads on one connection are answered in their order."""

import asyncio
import json
import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_fakes import FakeEngine
from rest_wire import bounded, chunked, predict, request, until

LIVE = request("/livez", method="GET")
NOWHERE = request("/nowhere", b'{"some": "body"}')


async def _outcomes(wire, count: int) -> list:
    outcomes = []
    for _ in range(count):
        reply = await bounded(wire.receive())
        body = reply.json()
        outcomes.append(body["output"][0] if "output" in body else reply.status if reply.status != 200 else "live")
    return outcomes


@pytest.mark.parametrize("when", ["now", "soon"])
async def test_lane_ordinary_lane(serve, when):
    served = await serve(engine=FakeEngine(when))
    wire = await served.connect()
    wire.send(predict(1) + LIVE + predict(2) + NOWHERE + chunked(b'{"input": [3]}') + LIVE + LIVE + predict(4))
    assert await _outcomes(wire, 8) == [1.0, "live", 2.0, 404, 3.0, "live", "live", 4.0]


async def test_answers_that_come_out_of_order_wait_for_those_before(serve, fast):
    served = await serve(engine=FakeEngine("held"))
    wire = await served.connect()
    wire.send(b"".join(predict(number) for number in range(10)))
    await until(lambda: len(served.engine.waiting) == 10)
    random.Random(7).shuffle(served.engine.waiting)  # a seeded order
    served.engine.release_all()
    assert await _outcomes(wire, 10) == [float(number) for number in range(10)]


async def test_the_ordinary_road_waits_for_the_lane_before_it(serve):
    served = await serve(engine=FakeEngine("held"))
    wire = await served.connect()
    wire.send(predict(1) + LIVE + predict(2))
    await until(lambda: len(served.engine.waiting) == 2)
    served.engine.release(served.engine.waiting[1])
    assert not served.server._server.server_state.tasks
    served.engine.release_all()
    assert await _outcomes(wire, 3) == [1.0, "live", 2.0]


async def test_expect_continue_waits_for_its_turn(serve):
    served = await serve(engine=FakeEngine("held"))
    wire = await served.connect()
    body = b'{"input": [2]}'
    wire.send(predict(1) + request(length=len(body), headers=("Expect: 100-continue",)))
    await until(lambda: served.engine.waiting)
    served.engine.release_all()
    assert await _outcomes(wire, 1) == [1.0]
    assert (await bounded(wire.receive())).status == 100
    wire.send(body)
    await until(lambda: served.engine.waiting)
    served.engine.release_all()
    assert await _outcomes(wire, 1) == [2.0]


async def test_a_body_that_is_here_when_its_turn_comes_is_not_asked_for(serve):
    served = await serve(engine=FakeEngine("held"))
    wire = await served.connect()
    body = b'{"input": [2]}'
    wire.send(predict(1) + request(length=len(body), headers=("Expect: 100-continue",)))
    (connection,) = served.server._server.server_state.connections
    await until(lambda: len(connection.line.waiting) == 2)
    wire.send(body[:5])
    await until(lambda: connection.received_body_bytes)
    served.engine.release_all()
    assert await _outcomes(wire, 1) == [1.0]
    wire.send(body[5:])
    await until(lambda: served.engine.waiting)
    served.engine.release_all()
    assert await _outcomes(wire, 1) == [2.0]


async def test_a_refusal_waits_for_the_answers_before_it(serve):
    served = await serve(engine=FakeEngine("held"), max_body_bytes=100)
    wire = await served.connect()
    wire.send(predict(1) + LIVE + request(body=b" " * 101) + predict(2))
    await until(lambda: served.engine.waiting)
    served.engine.release_all()
    assert await _outcomes(wire, 3) == [1.0, "live", 413]
    assert await bounded(wire.receive_end()) == b""
    assert len(served.engine.submitted) == 1


async def test_connection_close_in_the_middle_of_a_pipeline_ends_it(serve):
    served = await serve(engine=FakeEngine("soon"))
    wire = await served.connect()
    wire.send(predict(1) + LIVE + predict(2, headers=("Connection: close",)) + predict(3))
    assert await _outcomes(wire, 3) == [1.0, "live", 2.0]
    assert await bounded(wire.receive_end()) == b""


async def test_a_lost_connection_cancels_all_that_wait(serve):
    served = await serve(engine=FakeEngine("held"))
    wire = await served.connect()
    wire.send(b"".join(predict(number) for number in range(5)) + LIVE + predict(5))
    await until(lambda: len(served.engine.waiting) == 6)
    wire.reset()
    await until(lambda: len(served.engine.cancelled) == 6)


async def test_a_client_that_pipelines_without_end_is_read_only_as_fast_as_it_is_answered(serve):
    served = await serve(engine=FakeEngine("held"), max_pipelined=8)
    wire = await served.connect()
    one = predict(1)
    total = 3000
    wire.send(one * total)
    await until(lambda: len(served.engine.waiting) >= 8)
    (connection,) = served.server._server.server_state.connections
    assert connection.flow.read_paused
    most = 512 // len(one) + 1 + 8  # what one slice that was fed already may contain
    assert len(served.engine.waiting) <= most
    answered = 0
    while answered < total:
        await until(lambda: served.engine.waiting)
        assert len(served.engine.waiting) <= most
        batch = len(served.engine.waiting)
        served.engine.release_all()
        assert await _outcomes(wire, batch) == [1.0] * batch
        answered += batch


async def test_many_small_requests_in_one_chunk_are_taken_a_few_at_a_time(serve):
    """Two thousand at once would keep every other client waiting for their turn."""
    served = await serve(max_pipelined=8)
    wire = await served.connect()
    small = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
    count = 1000
    lengths = []
    wire.send(small * count)
    (connection,) = served.server._server.server_state.connections
    for _ in range(count):
        assert (await bounded(wire.receive())).status == 200
        lengths.append(len(connection.line.waiting))
    assert max(lengths) <= 512 // len(small) + 1 + 8


async def test_a_client_that_does_not_read_its_answers_is_not_read_either(serve, fast):
    served = await serve(engine=FakeEngine("now"), fast=fast)
    wire = await served.connect()
    wire.reader._transport.pause_reading()
    one = request(body=json.dumps({"input": [0.123456789] * 400}).encode())
    count = 3000
    wire.send(one * count)
    (connection,) = served.server._server.server_state.connections
    await until(lambda: connection.flow.read_paused and connection.flow.write_paused)
    assert connection.transport.get_write_buffer_size() < 1 << 20
    assert len(served.engine.submitted) < count
    wire.reader._transport.resume_reading()
    for _ in range(count):
        assert (await bounded(wire.receive())).status == 200
    assert len(served.engine.submitted) == count


ROADS = st.sampled_from(["lane", "chunked", "ordinary", "nowhere", "bad", "batch"])


def _bytes_of(road: str, number: int) -> tuple[bytes, object]:
    match road:
        case "lane":
            return predict(number), float(number)
        case "chunked":
            return chunked(b'{"input":', b"[%d]}" % number), float(number)
        case "ordinary":
            return LIVE, "live"
        case "nowhere":
            return NOWHERE, 404
        case "bad":
            return request(body=b"{"), 400
        case _:
            return request(body=b'{"input_batch": [[1]]}'), "live"  # any 200 without an output


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    roads=st.lists(ROADS, min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 1200), max_size=6),
    when=st.sampled_from(["now", "soon"]),
    fast=st.booleans(),
    answered_between=st.booleans(),
)
async def test_bytes_cut_anywhere_get_the_same_answers(serve_many, roads, cuts, when, fast, answered_between):
    served = await serve_many(when, fast)
    wire = await served.connect()
    pieces, expected = zip(*(_bytes_of(road, number) for number, road in enumerate(roads)), strict=True)
    stream = b"".join(pieces)
    (connection,) = served.server._server.server_state.connections
    edges = sorted({cut for cut in cuts if cut < len(stream)} | {0, len(stream)})
    for start, end in pairwise(edges):
        connection.data_received(stream[start:end])
        if answered_between:
            await asyncio.sleep(0)
    assert await _outcomes(wire, len(roads)) == list(expected)
    await wire.close()
    await until(lambda: served.server.connections == 0)
