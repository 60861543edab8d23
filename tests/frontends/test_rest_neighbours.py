"""Whoever comes from a network that the server is closed to is cut off; everybody else is served."""

import asyncio
from functools import partial
from ipaddress import ip_network

import pytest

from clipper.settings import Settings
from clipper_frontends.rest.limits import Limits
from clipper_frontends.rest.neighbours import GuardedProtocol, Neighbours
from clipper_frontends.rest.server import HttpServer, listen


async def answers(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("networks", "is_served"), [([], True), (["10.0.0.0/8", "fd00::/8"], True), (["10.0.0.0/8", "127.0.0.0/30"], False)]
)
async def test_only_neighbours_are_cut_off(networks, is_served):
    neighbours = Neighbours()
    listener = listen("127.0.0.1", 0)
    server = HttpServer(
        answers, listener, limits=Limits.of(Settings()), protocol=partial(GuardedProtocol, neighbours=neighbours)
    )
    await server.start()
    try:
        neighbours.keep_out([ip_network(network) for network in networks])
        try:
            reply = await ask(listener.getsockname()[1])
        except ConnectionResetError:
            reply = b""
        assert reply.startswith(b"HTTP/1.1 204") is is_served
        assert is_served or reply == b""
    finally:
        await server.stop(1)
    assert server.connections == 0
