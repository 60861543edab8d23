"""An HTTP server of a few lines that does as a test says: the other end of the load generator."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

Reply = tuple[int, dict[str, Any]]
ANSWER: Reply = (200, {"query_id": "0", "output": 1, "default": False})


class TinyServer:
    """Replies to request number ``n`` with what ``reply(n)`` says; None is no reply at all."""

    def __init__(self, reply: Callable[[int], Reply | None]) -> None:
        self.reply = reply
        self.bodies: list[Any] = []
        self.stalled: list[tuple[asyncio.Transport, Reply]] | None = None
        self.transports: set[asyncio.Transport] = set()
        self.most_connections = 0
        self.nobody = asyncio.Event()

    def answer(self, transport: asyncio.Transport, body: bytes) -> None:
        reply = self.reply(len(self.bodies))
        self.bodies.append(json.loads(body))
        if reply is None:
            return
        if self.stalled is not None:
            self.stalled.append((transport, reply))
        else:
            _write(transport, reply)

    def stall(self) -> None:
        """Until `resume`, every answer is held back."""
        self.stalled = []

    def resume(self) -> None:
        held, self.stalled = self.stalled or [], None
        for transport, reply in held:
            _write(transport, reply)

    def die(self) -> None:
        """Drop every connection, and take no new one."""
        self.server.close()
        for transport in list(self.transports):
            transport.abort()

    @property
    def port(self) -> int:
        port: int = self._port
        return port

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self._port = self.server.sockets[0].getsockname()[1]


def _write(transport: asyncio.Transport, reply: Reply) -> None:
    status, body = reply
    text = json.dumps(body).encode()
    transport.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text))


class _Connection(asyncio.Protocol):
    def __init__(self, server: TinyServer) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._server.transports.add(transport)
        self._server.most_connections = max(self._server.most_connections, len(self._server.transports))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.transports.discard(self._transport)
        if not self._server.transports:
            self._server.nobody.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        if body and len(body) == int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            self._received = b""
            self._server.answer(self._transport, body)


@asynccontextmanager
async def tiny_server(reply: Callable[[int], Reply | None] = lambda _: ANSWER) -> AsyncIterator[TinyServer]:
    server = TinyServer(reply)
    await server.start()
    try:
        yield server
    finally:
        server.die()
        await server.server.wait_closed()
