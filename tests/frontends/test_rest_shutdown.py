"""The server ends in good order: what was accepted is answered."""

import asyncio
import socket

import pytest
from rest_fakes import FakeEngine
from rest_wire import bounded, predict, request, until


async def test_what_is_under_way_is_answered_then_closed(serve, fast):
    served = await serve(engine=FakeEngine("held"), fast=fast)
    wire = await served.connect()
    wire.send(predict(1))
    await until(lambda: served.engine.waiting)
    stopping = asyncio.ensure_future(served.server.stop(5.0))
    await until(lambda: all(c.stopping for c in served.server._server.server_state.connections))
    served.engine.release_all()
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["output"]) == (200, [1.0])
    assert await bounded(wire.receive_end()) == b""
    await bounded(stopping)


async def test_a_whole_pipeline_under_way_is_answered(serve):
    served = await serve(engine=FakeEngine("held"))
    wire = await served.connect()
    wire.send(predict(1) + request("/livez", method="GET") + predict(2))
    await until(lambda: len(served.engine.waiting) == 2)
    stopping = asyncio.ensure_future(served.server.stop(5.0))
    await until(lambda: all(c.stopping for c in served.server._server.server_state.connections))
    wire.send(predict(3))
    served.engine.release_all()
    assert (await bounded(wire.receive())).json()["output"] == [1.0]
    assert (await bounded(wire.receive())).json() == {"live": True}
    last = await bounded(wire.receive())
    assert (last.json()["output"], last.headers["connection"]) == ([2.0], "close")
    assert await bounded(wire.receive_end()) == b""
    await bounded(stopping)


async def test_a_request_whose_body_is_arriving_is_answered(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    body = b'{"input": [1]}'
    wire.send(request(length=len(body)) + body[:5])
    (connection,) = served.server._server.server_state.connections
    await until(lambda: connection.received_body_bytes)
    stopping = asyncio.ensure_future(served.server.stop(5.0))
    await until(lambda: connection.stopping)
    wire.send(body[5:])
    assert (await bounded(wire.receive())).json()["output"] == [1.0]
    assert await bounded(wire.receive_end()) == b""
    await bounded(stopping)


async def test_idle_connections_are_closed(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(predict(1))
    await bounded(wire.receive())
    await bounded(served.server.stop(5.0))
    assert await bounded(wire.receive_end()) == b""


async def test_nobody_new_is_accepted(serve, fast):
    served = await serve(fast=fast)
    await served.server.stop(5.0)
    with pytest.raises(ConnectionRefusedError):
        await served.connect()


async def test_what_does_not_end_within_the_grace_is_cut_and_cancelled(serve, fast):
    served = await serve(engine=FakeEngine("held"), fast=fast)
    wire = await served.connect()
    wire.send(predict(1))
    await until(lambda: served.engine.waiting)
    await bounded(served.server.stop(0.05))
    assert len(served.engine.cancelled) == 1
    assert served.server.connections == 0


async def test_a_slow_client_cannot_delay_the_end(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(b"POST /digits/predict HTTP/1.1\r\n")
    (connection,) = served.server._server.server_state.connections
    await until(lambda: connection.arriving)
    await bounded(served.server.stop(30.0), 5.0)
    assert await bounded(wire.receive_end()) == b""


async def test_a_request_that_was_sent_before_the_end_is_answered(serve, fast):
    """Its bytes lie in the kernel, on a connection that looks idle or was never accepted."""
    served = await serve(fast=fast)
    host, port = served.server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as known:
        known.sendall(predict(1))
        await until(lambda: served.engine.submitted)
        await until(lambda: not any(c.busy for c in served.server._server.server_state.connections))
        known.sendall(predict(2))
        with socket.create_connection((host, int(port))) as unknown:
            unknown.sendall(predict(3))
            async with asyncio.timeout(10):
                await served.server.stop(5.0)  # awaited directly: no turn of the loop in which to accept
            assert await bounded(asyncio.to_thread(_all_of, known)) == 2
            assert await bounded(asyncio.to_thread(_all_of, unknown)) == 1


def _all_of(client: socket.socket) -> int:
    """How many answers there are until the server closes."""
    with client.makefile("rb") as received:
        return received.read().count(b"HTTP/1.1 200 OK")
