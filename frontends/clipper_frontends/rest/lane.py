"""The fast lane: ``POST /{app}/predict`` from the parser to the engine and back, without scope, task or ASGI call."""

import logging
import re
import time
from collections.abc import Callable

from clipper.domain import MAX_NAME_CHARS, Query
from clipper.engine.answer import Answer
from clipper.engine.engine import Engine
from clipper.engine.ticket import Ticket
from clipper.errors import ClipperError, InternalError
from clipper_frontends.rest.body import decode_body
from clipper_frontends.rest.exchange import Connection, Exchange, Line
from clipper_frontends.rest.known_heads import KnownHeads
from clipper_frontends.rest.reply import Reply, prediction, reply_of_error
from clipper_frontends.rest.rows import RowReader
from clipper_frontends.rest.submission import BatchSubmission, HttpCounters
from clipper_frontends.rest.target import parse_target

log = logging.getLogger(__name__)

_PREDICT = re.compile(r"/([^/]+)/predict")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MAX_KNOWN_TARGETS = 1024


class Lane:
    """What the lanes of all connections of one server share."""

    def __init__(self, engine: Engine, counters: HttpCounters, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine = engine
        self.counters = counters
        self.clock = clock
        self.reader = RowReader()
        self.known_heads = KnownHeads()
        self._names: dict[bytes, str] = {}

    def application_of(self, target: bytes) -> str | None:
        """The application whose predictions a request target asks for; None: the request is for the ordinary road.

        Raises:
            InvalidRequest: The target is no URL.
        """
        name = self._names.get(target)
        if name is None:
            match = _PREDICT.fullmatch(parse_target(target).path)
            name = match[1] if match else None
            if name is not None and len(target) <= 2 * MAX_NAME_CHARS and len(self._names) < _MAX_KNOWN_TARGETS:
                self._names[target] = name
        return name

    def decode(self, name: str, body: bytes) -> Query | list[Query]:
        """The queries of a body that is complete now.

        Raises:
            UnknownApplication: There is none of that name.
            BadRequest: The body is not what the application takes.
        """
        return decode_body(body, self.engine.application(name), self.reader, self.clock())

    def refusal(self, error: Exception) -> Reply:
        """The reply to a request that did not become a query."""
        if not isinstance(error, ClipperError):
            log.error("A prediction request failed in the server.", exc_info=error)
            error = InternalError("The server failed to take this request; its log has the details.")
        self.counters.refused[error.code] += 1
        return reply_of_error(error)


class LaneExchange(Exchange):
    """One prediction request. Its query is cancelled when the connection is lost, not when the client stops sending."""

    expects_continue = False
    _body: bytes | bytearray = b""
    _under_way: Ticket | BatchSubmission | None = None
    _prediction: bytes | None = None

    def __init__(self, line: Line, keep_alive: bool, lane: Lane, application: str) -> None:
        self.line = line
        self.keep_alive = keep_alive
        self._lane = lane
        self._application = application

    def begin(self, connection: Connection) -> None:
        """Ask for the body where the client waits to be asked."""
        if self.expects_continue and not self._body:
            connection.write(_CONTINUE)

    def feed(self, data: bytes) -> None:
        """Most bodies come in one piece, which is kept as it is."""
        if not self._body:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body) + data

    def complete(self) -> None:
        """The body is here."""
        body, self._body = self._body, b""
        self.expects_continue = False
        self.ask(body if type(body) is bytes else bytes(body))

    def ask(self, body: bytes) -> None:
        """Ask the engine; it may answer before this returns."""
        lane = self._lane
        try:
            asked = decode_body(body, lane.engine.application(self._application), lane.reader, lane.clock())
            if isinstance(asked, Query):
                ticket = lane.engine.submit(asked, self._on_answer)
                if not self.done:
                    self._under_way = ticket
            else:
                self._under_way = batch = BatchSubmission(lane.engine, asked, self.answer)
                batch.start()
        except Exception as error:  # noqa: BLE001  # the parser would swallow it; the caller gets an answer, the log the rest
            self.answer(lane.refusal(error))

    def abandon(self) -> None:
        """Cancel what is under way in the engine."""
        under_way, self._under_way = self._under_way, None
        if under_way is None or self.done:
            return
        if isinstance(under_way, BatchSubmission):
            under_way.cancel()
        else:
            self._lane.engine.cancel(under_way)

    def send(self, connection: Connection, *, close: bool) -> None:
        """The usual reply has a head that is built once a second."""
        if self._prediction is None:
            super().send(connection, close=close)
        elif close:
            connection.write_reply(Reply(200, self._prediction), close=True)
        else:
            connection.write_ok(self._prediction)

    def _on_answer(self, answer: Answer) -> None:
        self._under_way = None  # the ticket knows this method: a cycle that would cost a collection
        if answer.error is None or answer.default:
            self._prediction = prediction(answer)
        else:
            self.reply = reply_of_error(answer.error)
        self.done = True
        self.line.advance(self)
