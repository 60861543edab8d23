"""``PredictStream``: many queries under way on one call, each answered when it is ready.

Per message gRPC costs ten times what a query does, so neither direction has a message per query: whatever has become
ready while the last message was being written leaves in the next one.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from clipper.engine.answer import Answer
from clipper.engine.engine import Engine
from clipper.engine.ticket import Ticket
from clipper.protocols import Messages
from clipper_frontends.grpc import replies
from clipper_frontends.grpc.calls import Context, as_ours, parse
from clipper_frontends.grpc.inputs import MessageReader
from clipper_frontends.grpc.streaming import AnswerStream, Streams

MAX_ANSWERS_A_MESSAGE = 1024

_messages = Messages("clipper.v1")
_StreamRequest = _messages.PredictStreamRequest
_StreamReply = _messages.PredictStreamReply


class PredictStreams(Streams):
    """All streams of one server."""

    def __init__(
        self, engine: Engine, reader: MessageReader, refused: Counter[str], clock: Callable[[], float]
    ) -> None:
        super().__init__(refused)
        self.engine = engine
        self.reader = reader
        self.clock = clock

    async def serve(self, _requests: Any, context: Context) -> None:
        """One stream, to its end. Cancelled, it cancels everything under way."""
        await self.run(_Stream(self, context))


class _Stream(AnswerStream):
    """The queries of one call."""

    def __init__(self, shared: PredictStreams, context: Context) -> None:
        super().__init__(context)
        self._shared = shared
        self._tickets: dict[int, Ticket | None] = {}
        self._count = 0

    @property
    def under_way(self) -> int:
        return len(self._tickets)

    async def read(self) -> None:
        context = self.context
        while (data := await context.read()) is not grpc.aio.EOF:
            arrived_s = self._shared.clock()
            for request in parse(_StreamRequest, data).queries:
                self._submit(request, arrived_s)
            await self.room()

    async def send(self, ready: list[Any]) -> int:
        now = ready[:MAX_ANSWERS_A_MESSAGE]
        await self.context.write(_StreamReply(predictions=now).SerializeToString())
        return len(now)

    def cancel(self) -> None:
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            if ticket is not None:
                self._shared.engine.cancel(ticket)

    def _submit(self, request: Any, arrived_s: float) -> None:
        shared = self._shared
        try:
            query = shared.reader.query(request, shared.engine.application(request.application), arrived_s)
        except Exception as failure:  # noqa: BLE001  # one query's fault is no other's
            self.put(replies.refusal(as_ours(failure, shared.refused), request.id))
            return
        self._count += 1
        key = self._count
        self._tickets[key] = None
        ticket = shared.engine.submit(query, partial(self._on_answer, key, request.id))
        if key in self._tickets:
            self._tickets[key] = ticket

    def _on_answer(self, key: int, number: int, answer: Answer) -> None:
        if self._tickets.pop(key, self) is not self:
            self.put(replies.prediction(answer, number))
