"""``PredictStream``: many queries under way on one call, each answered when it is ready.

Per message gRPC costs ten times what a query does, so neither direction has a message per query: whatever has become
ready while the last message was being written leaves in the next one.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from clipper.engine.answer import Answer
from clipper.engine.engine import Engine
from clipper.engine.ticket import Ticket
from clipper.errors import ShuttingDown
from clipper.protocols import Messages
from clipper_frontends.grpc import replies
from clipper_frontends.grpc.calls import Context, abort, as_ours, parse
from clipper_frontends.grpc.inputs import MessageReader

MAX_UNDER_WAY = 8192
"""Queries of one stream that are not written yet; above it nothing is read, and flow control stops the caller."""
MAX_ANSWERS_A_MESSAGE = 1024

_messages = Messages("clipper.v1")
_StreamRequest = _messages.PredictStreamRequest
_StreamReply = _messages.PredictStreamReply


class PredictStreams:
    """All streams of one server."""

    def __init__(
        self, engine: Engine, reader: MessageReader, refused: Counter[str], clock: Callable[[], float]
    ) -> None:
        self.engine = engine
        self.reader = reader
        self.refused = refused
        self.clock = clock
        self.closing = asyncio.Event()

    def close(self) -> None:
        """Read no further queries; each stream answers those that it has read, and ends with UNAVAILABLE."""
        self.closing.set()

    async def serve(self, _requests: Any, context: Context) -> None:
        """One stream, to its end. Cancelled, it cancels everything under way."""
        stream = _Stream(self, context)
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
            await abort(context, as_ours(failure, self.refused))
        finally:
            for task in (reading, closing, writing):
                task.cancel()
            stream.cancel()
        if self.closing.is_set():
            await abort(context, ShuttingDown("The server is shutting down; ask another one.", retry_after_s=1.0))


class _Stream:
    """The queries of one call. An answer is put where the writer finds it; there is no task per query."""

    def __init__(self, shared: PredictStreams, context: Context) -> None:
        self._shared = shared
        self._context = context
        self._tickets: dict[int, Ticket | None] = {}
        self._count = 0
        self._ready: list[Any] = []
        self._some_ready = asyncio.Event()
        self._some_room = asyncio.Event()
        self._finishing = False

    async def read(self) -> None:
        """Submit what comes, until the caller has sent everything."""
        context = self._context
        while (data := await context.read()) is not grpc.aio.EOF:
            arrived_s = self._shared.clock()
            for request in parse(_StreamRequest, data).queries:
                self._submit(request, arrived_s)
            while len(self._tickets) + len(self._ready) > MAX_UNDER_WAY:
                self._some_room.clear()
                await self._some_room.wait()

    async def write(self) -> None:
        """Send what is ready, until everything is sent."""
        while True:
            if not self._ready:
                if self._finishing and not self._tickets:
                    return
                self._some_ready.clear()
                await self._some_ready.wait()
                continue
            now, self._ready = self._ready[:MAX_ANSWERS_A_MESSAGE], self._ready[MAX_ANSWERS_A_MESSAGE:]
            self._some_room.set()
            await self._context.write(_StreamReply(predictions=now).SerializeToString())

    def finish(self) -> None:
        """Nothing more comes."""
        self._finishing = True
        self._some_ready.set()

    def cancel(self) -> None:
        """Nobody reads the answers any more."""
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            if ticket is not None:
                self._shared.engine.cancel(ticket)

    def _submit(self, request: Any, arrived_s: float) -> None:
        shared = self._shared
        try:
            query = shared.reader.query(request, shared.engine.application(request.application), arrived_s)
        except Exception as failure:  # noqa: BLE001  # one query's fault is no other's
            self._put(replies.refusal(as_ours(failure, shared.refused), request.id))
            return
        self._count += 1
        key = self._count
        self._tickets[key] = None
        ticket = shared.engine.submit(query, partial(self._on_answer, key, request.id))
        if key in self._tickets:
            self._tickets[key] = ticket

    def _on_answer(self, key: int, number: int, answer: Answer) -> None:
        if self._tickets.pop(key, self) is not self:
            self._put(replies.prediction(answer, number))

    def _put(self, prediction: Any) -> None:
        self._ready.append(prediction)
        self._some_ready.set()
