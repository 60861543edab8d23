"""A head that was taken before, byte for byte, is not parsed again; nobody outside can tell."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_fakes import FakeEngine
from rest_wire import bounded, chunked, predict, request

from clipper_frontends.rest.known_heads import HEAD_END, MAX_HEAD_BYTES, MAX_HEADS, KnownHeads


async def answered(wire, number, data):
    wire.send(data)
    assert (await bounded(wire.receive())).json()["output"] == [float(number)]


async def test_a_head_is_learned_from_its_first_request_and_then_known(serve):
    served = await serve()
    wire = await served.connect()
    await answered(wire, 1, predict(1))
    assert len(served.lane.known_heads) == 1
    served.lane.route_of = None  # the parser's road would need it
    await answered(wire, 2, predict(2))


async def test_a_known_head_is_known_on_every_connection(serve):
    served = await serve()
    await answered(await served.connect(), 1, predict(1))
    served.lane.route_of = None
    await answered(await served.connect(), 2, predict(2))


@pytest.mark.parametrize(
    "data",
    [
        predict(1) + predict(2),
        chunked(b'{"input": [1]}'),
        predict(1, headers=("Expect: 100-continue",)),
        predict(1, headers=("Connection: close",)),
        predict(1, version="1.0"),
        request("/livez", method="GET"),
        predict(1, headers=(f"X-Long: {'x' * MAX_HEAD_BYTES}",)),
    ],
    ids=["two", "chunked", "expect", "close", "http/1.0", "ordinary", "long"],
)
async def test_what_is_not_one_plain_request_is_not_learned(serve, data):
    served = await serve()
    wire = await served.connect()
    wire.send(data)
    await bounded(wire.receive())
    assert len(served.lane.known_heads) == 0


async def test_a_known_head_with_less_or_more_than_its_body_goes_to_the_parser(serve):
    served = await serve()
    wire = await served.connect()
    await answered(wire, 1, predict(1))
    whole = predict(2)
    wire.send(whole[:-3])
    await answered(wire, 2, whole[-3:])
    wire.send(predict(3) + predict(4)[:20])
    assert (await bounded(wire.receive())).json()["output"] == [3.0]
    await answered(wire, 4, predict(4)[20:])
    await answered(wire, 5, predict(5))


async def test_bytes_of_a_known_head_inside_a_body_are_a_body(serve):
    served = await serve()
    wire = await served.connect()
    await answered(wire, 1, predict(1))
    inner = predict(6)
    wire.send(request(length=len(inner)))
    wire.send(inner)
    assert (await bounded(wire.receive())).status == 400
    await answered(wire, 7, predict(7))


async def test_a_known_head_in_the_middle_of_pipelined_requests_keeps_the_order(serve):
    served = await serve(engine=FakeEngine("soon"))
    wire = await served.connect()
    await answered(wire, 0, predict(0))
    for number in range(1, 6):
        wire.send(predict(number) if number % 2 else request("/livez", method="GET"))
    outputs = [(await bounded(wire.receive())).json().get("output") for _ in range(5)]
    assert outputs == [[1.0], None, [3.0], None, [5.0]]


def test_the_table_is_bounded():
    heads = KnownHeads()
    for i in range(3 * MAX_HEADS):
        heads.learn(b"POST /a/predict HTTP/1.1\r\nX: %d\r\n\r\nbody" % i, "a", 4)
        assert len(heads) <= MAX_HEADS
    assert heads.get(b"POST /a/predict HTTP/1.1\r\nX: %d\r\n\r\n" % (3 * MAX_HEADS - 1)) == ("a", 4)


@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_only_a_head_that_its_whole_body_follows_is_learned(head, body):
    heads = KnownHeads()
    heads.learn(head + HEAD_END + body, "a", len(body))
    first = (head + HEAD_END + body).find(HEAD_END) + len(HEAD_END)
    assert len(heads) == (len(head + HEAD_END + body) - first == len(body))
