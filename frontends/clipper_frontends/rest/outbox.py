"""Replies of one turn of the loop, written together at its end.

A batch comes back with an answer for each of many connections. Writing each one where it is made sends the processor
through the kernel's network code and back to the interpreter every time, and wakes the client's process once for each
reply; writing them one after another at the end of the turn does both once.
"""

import asyncio
from collections.abc import Callable

from clipper_frontends.rest.head import Heads

MAX_BYTES = 64 << 10
"""So many are written at once: a client that does not read its replies must be noticed before the turn is over."""


class Outbox:
    """Shared by the connections of one server. Whoever writes or closes otherwise must `flush` first, to keep order."""

    __slots__ = ("_bytes", "_call_soon", "_heads", "_waiting")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], heads: Heads) -> None:
        self._call_soon = call_soon
        self._heads = heads
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []
        self._bytes = 0

    def put_ok(self, transport: asyncio.Transport, body: bytes) -> None:
        """Send a 200 with that body, on a connection that stays open, before this turn of the loop is over."""
        waiting = self._waiting
        if not waiting:
            self._call_soon(self.flush)
        waiting.append((transport, body))
        self._bytes += len(body)
        if self._bytes > MAX_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send everything now. What is for a client that has gone is dropped."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        head = self._heads.ok() if waiting else b""
        for transport, body in waiting:
            if not transport.is_closing():
                transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
