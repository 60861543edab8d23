"""What bidirectional streams have in common: how they begin and end, and what is ready waiting for the writer."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

from clipper.errors import ShuttingDown
from clipper_frontends.grpc.calls import Context, abort, as_ours

MAX_UNDER_WAY = 8192
"""Queries of one stream that are not written yet; above it nothing is read, and flow control stops the caller."""


class AnswerStream(ABC):
    """One call. An answer is put where the writer finds it; there is no task per query."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._ready: list[Any] = []
        self._some_ready = asyncio.Event()
        self._some_room = asyncio.Event()
        self._finishing = False

    @abstractmethod
    async def read(self) -> None:
        """Submit what comes, until the caller has sent everything."""

    @abstractmethod
    async def send(self, ready: list[Any]) -> int:
        """Write the first of what is ready; returns how many that were."""

    @property
    @abstractmethod
    def under_way(self) -> int:
        """How many queries have no answer yet."""

    @abstractmethod
    def cancel(self) -> None:
        """Nobody reads the answers any more."""

    def put(self, answer: Any) -> None:
        """To be written."""
        self._ready.append(answer)
        self._some_ready.set()

    async def room(self) -> None:
        """Wait until so few queries are not written that more may be read."""
        while self.under_way + len(self._ready) > MAX_UNDER_WAY:
            self._some_room.clear()
            await self._some_room.wait()

    async def write(self) -> None:
        """Send what is ready, until everything is sent."""
        while True:
            if not self._ready:
                if self._finishing and not self.under_way:
                    return
                self._some_ready.clear()
                await self._some_ready.wait()
                continue
            now, self._ready = self._ready, []
            sent = 0
            while sent < len(now):
                sent += await self.send(now[sent:])
                self._some_room.set()

    def finish(self) -> None:
        """Nothing more comes."""
        self._finishing = True
        self._some_ready.set()


class Streams:
    """All streams of one service.

    Args:
        refused: Counts requests that never became queries, by code.
    """

    def __init__(self, refused: Counter[str]) -> None:
        self.refused = refused
        self.closing = asyncio.Event()

    def close(self) -> None:
        """Read no further queries; each stream answers those that it has read, and ends with UNAVAILABLE."""
        self.closing.set()

    async def run(self, stream: AnswerStream) -> None:
        """One stream, to its end. Cancelled, it cancels everything under way."""
        reading = asyncio.create_task(stream.read())
        closing = asyncio.create_task(self.closing.wait())
        writing = asyncio.create_task(stream.write())
        try:
            await asyncio.wait([reading, closing, writing], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
            stream.finish()
            await writing
            if reading.done() and not reading.cancelled():
                reading.result()
        except Exception as failure:  # noqa: BLE001  # the caller gets a sentence, the log the rest
            await abort(stream.context, as_ours(failure, self.refused))
        finally:
            for task in (reading, closing, writing):
                task.cancel()
            stream.cancel()
        if self.closing.is_set():
            await abort(
                stream.context, ShuttingDown("The server is shutting down; ask another one.", retry_after_s=1.0)
            )
