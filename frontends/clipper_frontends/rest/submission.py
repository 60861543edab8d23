"""A decoded request on its way through the engine; the same for both roads."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from clipper.domain import Query
from clipper.engine.answer import Answer
from clipper.engine.engine import Engine
from clipper.engine.ticket import Ticket
from clipper_frontends.rest.reply import Reply, reply_to_batch

SUBMITTED_AT_ONCE = 256
"""Queries of one batch request between two turns of the event loop, so that a large request delays nobody else long."""


@dataclass(slots=True)
class HttpCounters:
    """What the HTTP server counts besides the engine; ``refused``: requests that never became queries, by code."""

    refused: Counter[str] = field(default_factory=Counter)


class BatchSubmission:
    """The queries of an ``input_batch``: one reply when all of them are answered."""

    __slots__ = ("_answers", "_engine", "_left", "_on_reply", "_queries", "_submitted", "_tickets")

    def __init__(self, engine: Engine, queries: list[Query], on_reply: Callable[[Reply], None]) -> None:
        self._engine = engine
        self._queries = queries
        self._on_reply = on_reply
        self._answers: list[Answer | None] = [None] * len(queries)
        self._tickets: list[Ticket] = []
        self._submitted = 0
        self._left = len(queries)

    def start(self) -> None:
        """Submit the next queries; the rest follows in the next turns of the loop."""
        first = self._submitted
        for i, query in enumerate(self._queries[first : first + SUBMITTED_AT_ONCE], first):
            self._submitted += 1
            self._tickets.append(self._engine.submit(query, partial(self._on_answer, i)))
        if self._submitted < len(self._queries):
            asyncio.get_running_loop().call_soon(self.start)
        elif self._left == 0:
            self._tickets.clear()

    def cancel(self) -> None:
        """The caller is gone: nothing is submitted or answered any more."""
        self._queries = []
        for ticket, answer in zip(self._tickets, self._answers, strict=False):
            if answer is None:
                self._engine.cancel(ticket)
        self._tickets.clear()

    def _on_answer(self, index: int, answer: Answer) -> None:
        self._answers[index] = answer
        self._left -= 1
        if self._left == 0:
            self._tickets.clear()  # they know this method: a cycle that would cost a collection
            self._on_reply(reply_to_batch(a for a in self._answers if a is not None))
