"""What clients may not do to the server, on both roads."""

import asyncio
import json
from itertools import pairwise

import pytest
from rest_fakes import FakeEngine
from rest_wire import bounded, chunked, predict, request, until

from clipper_frontends.rest.watch import Watch


@pytest.mark.parametrize("pieces", [1, 50])
async def test_headers_over_the_limit_are_431(serve, fast, pieces):
    served = await serve(fast=fast, max_header_bytes=2048)
    wire = await served.connect()
    data = request(body=b"{}", headers=tuple(f"X-{i}: {'a' * 100}" for i in range(40)))
    (connection,) = served.server._server.server_state.connections
    step = len(data) // pieces
    for start in range(0, len(data), step):
        connection.data_received(data[start : start + step])
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"], reply.headers["connection"]) == (431, "headers_too_large", "close")


async def test_headers_that_pass_the_limit_with_their_last_piece_are_431(serve, fast):
    served = await serve(fast=fast, max_header_bytes=2048)
    wire = await served.connect()
    data = request(body=b"{}", headers=tuple(f"X-{i}: {'a' * 100}" for i in range(25)))
    (connection,) = served.server._server.server_state.connections
    connection.data_received(data[:1500])
    connection.data_received(data[1500:])
    assert (await bounded(wire.receive())).status == 431


async def test_a_header_without_end_is_431_before_it_ends(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(b"POST /digits/predict HTTP/1.1\r\nX-Long: ")
    for _ in range(64):
        wire.send(b"a" * 4096)
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (431, "headers_too_large")


async def test_a_target_without_end_is_431(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(b"GET /" + b"a" * 300_000)
    assert (await bounded(wire.receive())).status == 431


async def test_headers_within_the_limit_behind_many_requests_are_taken(serve, fast):
    served = await serve(fast=fast, max_header_bytes=2048)
    wire = await served.connect()
    (connection,) = served.server._server.server_state.connections
    stream = predict(1) * 100
    edges = sorted(
        {*range(0, len(stream), 3000), *range(10, len(stream), 3000), *range(20, len(stream), 3000), len(stream)}
    )
    for start, end in pairwise(edges):
        connection.data_received(stream[start:end])
    for _ in range(100):
        assert (await bounded(wire.receive())).status == 200


async def test_trailers_without_end_are_431(serve, fast):
    served = await serve(fast=fast, max_header_bytes=2048)
    wire = await served.connect()
    wire.send(chunked(b'{"input": [1]}', end=b"0\r\n"))
    (connection,) = served.server._server.server_state.connections
    await until(lambda: connection.arriving)
    for i in range(50):
        connection.data_received(b"X-%d: %s\r\n" % (i, b"a" * 100))
    assert (await bounded(wire.receive())).status == 431


async def test_an_announced_body_over_the_limit_is_413_before_it_comes(serve, fast):
    served = await serve(fast=fast, max_body_bytes=1000)
    wire = await served.connect()
    wire.send(request(length=1001))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"], reply.headers["connection"]) == (413, "too_large", "close")


async def test_a_body_of_exactly_the_limit_is_taken(serve, fast):
    body = b'{"input": [1]}'
    served = await serve(fast=fast, max_body_bytes=len(body))
    wire = await served.connect()
    wire.send(request(body=body))
    assert (await bounded(wire.receive())).status == 200


async def test_a_chunked_body_over_the_limit_is_413_before_it_ends(serve, fast):
    served = await serve(fast=fast, max_body_bytes=10_000)
    wire = await served.connect()
    wire.send(chunked(b" " * 9_000, b" " * 9_000, end=b""))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (413, "too_large")
    assert served.engine.submitted == []


async def test_a_client_that_goes_on_sending_can_read_why_it_was_refused(serve, fast):
    """Closing with unread bytes would reset the connection and discard the refusal."""
    served = await serve(fast=fast, max_body_bytes=10_000)
    wire = await served.connect()
    wire.send(request(length=4_000_000))
    for _ in range(100):
        wire.send(b" " * 40_000)
        await asyncio.sleep(0)
    assert (await bounded(wire.receive())).status == 413
    wire.end()
    assert await bounded(wire.receive_end()) == b""


async def test_a_refused_client_that_never_stops_is_cut(serve, fast):
    served = await serve(fast=fast, max_body_bytes=1000, linger_s=0.01)
    wire = await served.connect()
    wire.send(request(length=1001))
    assert (await bounded(wire.receive())).status == 413
    await bounded(until(lambda: served.server.connections == 0))


@pytest.mark.parametrize(
    "sent",
    [b"P", b"POST /digits/predict HTTP/1.1\r\nHost: t\r\n", request(length=5), chunked(b'{"input"', end=b"")],
    ids=["first byte", "headers", "no body", "part of the body"],
)
async def test_a_request_that_does_not_arrive_in_time_is_408(serve, fast, sent):
    served = await serve(fast=fast, request_timeout_s=0.05)
    wire = await served.connect()
    wire.send(sent)
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"], reply.headers["connection"]) == (408, "request_timeout", "close")


async def test_a_request_that_trickles_is_408_all_the_same(serve, fast):
    served = await serve(fast=fast, request_timeout_s=0.2)
    wire = await served.connect()
    wire.send(request(length=1000))
    answer = asyncio.ensure_future(wire.receive())
    while not answer.done():
        wire.send(b" ")
        await asyncio.wait([answer], timeout=0.02)
    assert (await answer).status == 408


async def test_a_slow_model_is_not_a_slow_client(serve, fast, monkeypatch):
    looks = []
    look = Watch._check
    monkeypatch.setattr(Watch, "_check", lambda watch: (looks.append(watch), look(watch)))
    served = await serve(engine=FakeEngine("held"), fast=fast, request_timeout_s=0.05, keep_alive_s=0.05)
    wire = await served.connect()
    wire.send(predict(1))
    await until(lambda: served.engine.waiting)
    await bounded(until(lambda: len(looks) >= 3))
    served.engine.release_all()
    assert (await bounded(wire.receive())).status == 200


async def test_an_idle_connection_is_closed_after_the_keep_alive_time(serve, fast):
    served = await serve(fast=fast, keep_alive_s=0.05)
    wire = await served.connect()
    wire.send(predict(1))
    assert (await bounded(wire.receive())).status == 200
    assert await bounded(wire.receive_end()) == b""


async def test_a_connection_that_never_asks_anything_is_closed(serve, fast):
    served = await serve(fast=fast, request_timeout_s=0.05)
    wire = await served.connect()
    assert await bounded(wire.receive_end()) == b""


async def test_a_client_that_never_reads_its_answers_is_cut(serve, fast):
    served = await serve(engine=FakeEngine("now"), fast=fast, request_timeout_s=0.3)
    wire = await served.connect()
    wire.reader._transport.pause_reading()
    wire.send(request(body=json.dumps({"input": [0.123456789] * 400}).encode()) * 3000)
    await bounded(until(lambda: served.server.connections == 0))


async def test_the_time_for_an_upload_grows_with_what_arrives(serve):
    served = await serve(fast=False, request_timeout_s=0.1, min_body_bytes_per_s=1000.0)
    wire = await served.connect()
    body = b'{"input": [1]' + b" " * 400 + b"}"
    wire.send(request(length=len(body)) + body[:-1])
    await asyncio.sleep(0.2)  # what is tested is that time passes: 0.1 s and what 413 bytes earn
    wire.send(body[-1:])
    assert (await bounded(wire.receive())).status == 200


@pytest.mark.parametrize("depth", [200, 10_000, 100_000])
@pytest.mark.parametrize("field", ["input", "input_batch", "uid", "nonsense"])
async def test_deep_json_is_400(serve, fast, depth, field):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(body=b'{"%s": %s}' % (field.encode(), b"[" * depth + b"]" * depth)))
    reply = await bounded(wire.receive())
    assert reply.status == 400
    assert reply.json()["code"] in {"invalid_json", "invalid_input", "invalid_request"}


async def test_hundreds_of_slow_clients_do_not_keep_others_from_being_served(serve):
    served = await serve(request_timeout_s=1.0)
    slow = [await served.connect() for _ in range(200)]
    for wire in slow:
        wire.send(b"POST /digits/predict HTTP/1.1\r\n")
    wire = await served.connect()
    for number in range(20):
        wire.send(predict(number))
        assert (await bounded(wire.receive())).status == 200
    assert [(await bounded(wire.receive())).status for wire in slow] == [408] * 200
