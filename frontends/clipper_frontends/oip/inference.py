"""The queries of one request on their way through the engine."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from clipper.domain import Query
from clipper.engine.answer import Answer
from clipper.engine.engine import Engine
from clipper.engine.ticket import Ticket
from clipper.errors import ClipperError

SUBMITTED_AT_ONCE = 256
"""Queries of one request between two turns of the event loop, so that a large request delays nobody else long."""

Outcome = Sequence[Answer] | ClipperError


class Inference:
    """Asks all queries of a request and calls ``on_done`` once: with every answer in order, or with the first error.

    A query that fails fails the request, as the protocol has it; the others are cancelled then. ``on_done`` may be
    called before `start` returns, and never after `cancel`.
    """

    __slots__ = ("_answers", "_engine", "_left", "_on_done", "_queries", "_submitted", "_tickets")

    def __init__(self, engine: Engine, queries: Sequence[Query], on_done: Callable[[Outcome], None]) -> None:
        self._engine = engine
        self._queries = queries
        self._on_done: Callable[[Outcome], None] | None = on_done
        self._answers: list[Answer | None] = [None] * len(queries)
        self._tickets: list[Ticket] = []
        self._submitted = 0
        self._left = len(queries)

    def start(self) -> None:
        """Submit the next queries; the rest follows in the next turns of the loop."""
        first = self._submitted
        for i, query in enumerate(self._queries[first : first + SUBMITTED_AT_ONCE], first):
            self._submitted += 1
            ticket = self._engine.submit(query, partial(self._on_answer, i))
            if self._on_done is None:
                self._engine.cancel(ticket)
                return
            self._tickets.append(ticket)
        if self._submitted < len(self._queries):
            asyncio.get_running_loop().call_soon(self.start)

    def cancel(self) -> None:
        """The caller is gone: nothing is submitted or answered any more."""
        self._queries = ()
        self._on_done = None
        tickets, self._tickets = self._tickets, []
        for ticket in tickets:
            self._engine.cancel(ticket)  # those that are answered take no notice

    def _on_answer(self, index: int, answer: Answer) -> None:
        on_done = self._on_done
        if on_done is None:
            return
        if answer.error is not None and not answer.default:
            error = answer.error if len(self._answers) == 1 else of_row(index, answer.error)
            self.cancel()
            on_done(error)
            return
        self._answers[index] = answer
        self._left -= 1
        if self._left == 0:
            answers = [answer for answer in self._answers if answer is not None]
            self.cancel()  # the tickets know this method: a cycle that would cost a collection
            on_done(answers)


class OneInference:
    """An `Inference` of a single query: most are, and need no lists."""

    __slots__ = ("_engine", "_on_done", "_ticket")

    def __init__(self, engine: Engine, query: Query, on_done: Callable[[Outcome], None]) -> None:
        self._engine = engine
        self._on_done: Callable[[Outcome], None] | None = on_done
        self._ticket: Ticket | None = None
        ticket = engine.submit(query, self._on_answer)
        if self._on_done is not None:
            self._ticket = ticket

    def cancel(self) -> None:
        """As of `Inference`."""
        ticket, self._ticket, self._on_done = self._ticket, None, None
        if ticket is not None:
            self._engine.cancel(ticket)

    def _on_answer(self, answer: Answer) -> None:
        on_done, self._on_done, self._ticket = self._on_done, None, None  # the ticket knows this method: a cycle
        if on_done is not None:
            on_done((answer,) if answer.error is None or answer.default else answer.error)


def start_inference(
    engine: Engine, queries: Sequence[Query], on_done: Callable[[Outcome], None]
) -> Inference | OneInference:
    """Ask all queries; see `Inference`."""
    if len(queries) == 1:
        return OneInference(engine, queries[0], on_done)
    inference = Inference(engine, queries, on_done)
    inference.start()
    return inference


def of_row(index: int, error: ClipperError) -> ClipperError:
    """The error of one query of several, with its place."""
    return type(error)(f"Row {index} of the batch: {error.message}", retry_after_s=error.retry_after_s)


async def infer(engine: Engine, queries: Sequence[Query]) -> Sequence[Answer]:
    """The answers, for those who can await. Cancelling the awaiting task cancels the queries.

    Raises:
        ClipperError: Of the first query that failed.
    """
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def on_done(outcome: Outcome) -> None:
        if not done.done():
            done.set_result(outcome)

    inference = start_inference(engine, queries, on_done)
    try:
        outcome = await done
    finally:
        inference.cancel()
    if isinstance(outcome, ClipperError):
        raise outcome
    return outcome
