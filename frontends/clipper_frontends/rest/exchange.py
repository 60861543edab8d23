"""Requests of one connection and the order of their replies.

HTTP/1.1 answers in the order of the requests, whatever road each of them takes. Exchanges of the fast lane run side by
side and hold their reply until it is their turn; those of the ordinary road write piecemeal, so they start when it is.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from clipper.errors import ClipperError
from clipper_frontends.rest.reply import Reply, reply_of_error


class Connection(Protocol):
    """What the exchanges see of the connection that they belong to."""

    ending: bool
    """Whether no further request will be taken, so that the last reply may say so."""

    def write(self, data: bytes) -> None:
        """Send bytes that are no final reply."""

    def write_ok(self, body: bytes) -> None:
        """Send a 200 that is not the last reply."""

    def write_reply(self, reply: Reply, *, close: bool) -> None:
        """Send a whole reply."""

    def finish(self) -> None:
        """The last reply was sent."""


class Exchange:
    """One request and its reply. This base class is a request that the server itself answers, usually with an error."""

    # Defaults of the class: one exchange is made per query, and most of them never set these.
    reply: Reply | None = None
    prediction: bytes | None = None
    """The body of a 200 with no further headers: what nearly all replies are."""
    done = False

    def __init__(self, line: "Line", keep_alive: bool, reply: Reply | None = None) -> None:
        self.line = line
        self.keep_alive = keep_alive
        if reply is not None:
            self.reply = reply
            self.done = True

    def begin(self, connection: Connection) -> None:
        """It is this exchange's turn, and its reply is not there yet."""

    def feed(self, data: bytes) -> None:
        """A piece of the body came."""

    def complete(self) -> None:
        """The request came in full."""

    def fail(self, error: ClipperError) -> None:
        """Answer with ``error`` instead, and let nothing follow: the rest of the request is not understood."""
        self.keep_alive = False
        self.abandon()
        self.answer(reply_of_error(error))

    def abandon(self) -> None:
        """The caller is gone, or another reply was given: stop what is under way. Called more than once."""

    def answer(self, reply: Reply) -> None:
        """The reply is here; it is sent when it is its turn."""
        self.reply = reply
        self.done = True
        self.line.advance(self)

    def send(self, connection: Connection, *, close: bool) -> None:
        """It is this exchange's turn, and its reply is there."""
        reply = self.reply if self.prediction is None else Reply(200, self.prediction)
        if reply is not None:
            connection.write_reply(reply, close=close)


class Line:
    """The exchanges of one connection, oldest first."""

    __slots__ = ("_connection", "_on_short", "waiting")

    def __init__(self, connection: Connection, on_short: Callable[[], None]) -> None:
        self._connection = connection
        self._on_short = on_short
        self.waiting: deque[Exchange] = deque()

    def join(self, exchange: Exchange) -> None:
        """A request came."""
        self.waiting.append(exchange)
        if exchange.done:
            self.advance(exchange)
        elif self.waiting[0] is exchange:
            exchange.begin(self._connection)

    def advance(self, exchange: Exchange) -> None:
        """``exchange`` is done: send what can be sent now."""
        waiting = self.waiting
        if not waiting or waiting[0] is not exchange:
            return
        connection = self._connection
        while waiting:
            first = waiting[0]
            if not first.done:
                first.begin(connection)
                break
            waiting.popleft()
            if not first.keep_alive or (connection.ending and not waiting):
                first.send(connection, close=True)
                self.abandon()
                connection.finish()
                return
            if first.prediction is not None:
                connection.write_ok(first.prediction)
            else:
                first.send(connection, close=False)
        self._on_short()

    def abandon(self) -> None:
        """Nobody is there to read any reply."""
        while self.waiting:
            self.waiting.popleft().abandon()
