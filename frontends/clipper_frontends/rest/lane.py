"""The fast lane: ``POST /{app}/predict``, ``/{app}/update`` and ``/v2/models/{name}/infer``, without ASGI."""

import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from clipper.domain import Query
from clipper.engine.engine import Engine
from clipper.engine.update import Update
from clipper.errors import ClipperError, InternalError
from clipper.frozen import MAX_NAME_CHARS
from clipper_frontends.rest.array_body import decode_array_body
from clipper_frontends.rest.body import decode_body
from clipper_frontends.rest.exchange import Connection, Exchange, Line
from clipper_frontends.rest.infer_body import InferBodyReader, json_bytes_of
from clipper_frontends.rest.known_heads import KnownHeads
from clipper_frontends.rest.reply import Reply, reply_of_error
from clipper_frontends.rest.rows import RowReader
from clipper_frontends.rest.submission import HttpCounters
from clipper_frontends.rest.target import parse_target

log = logging.getLogger(__name__)

Verb = Literal["predict", "update", "infer"]

_PATH = re.compile(r"/([^/]+)/(predict|update)")
_INFER_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MAX_KNOWN_TARGETS = 1024


class Route(NamedTuple):
    """What a request of the lane is for.

    ``infer`` alone has a model's version, where it asks for one. ``json_bytes`` is the length of the JSON that
    begins a body with tensors behind it, where a header says so.
    """

    verb: Verb
    application: str
    version: str | None = None
    json_bytes: int | None = None


class Feedback(Protocol):
    """Who takes feedback."""

    async def update(self, application: str, updates: Sequence[Update]) -> list[ClipperError | None]:
        """See `clipper.engine.feedback.FeedbackService.update`."""
        ...


class Lane:
    """What the lanes of all connections of one server share."""

    def __init__(
        self,
        engine: Engine,
        counters: HttpCounters,
        clock: Callable[[], float] = time.monotonic,
        *,
        feedback: Feedback,
    ) -> None:
        self.engine = engine
        self.counters = counters
        self.clock = clock
        self.feedback = feedback
        self.reader = RowReader()
        self.infer_reader = InferBodyReader()
        self.known_heads: KnownHeads[Route] = KnownHeads()
        self._routes: dict[bytes, Route] = {}

    def route_of(self, target: bytes) -> Route | None:
        """What a request target asks for; None: the request is for the ordinary road.

        Raises:
            InvalidRequest: The target is no URL.
        """
        route = self._routes.get(target)
        if route is None:
            route = _route_of_path(parse_target(target).path)
            if route is None:
                return None
            if len(target) <= 2 * MAX_NAME_CHARS and len(self._routes) < _MAX_KNOWN_TARGETS:
                self._routes[target] = route
        return route

    def route_with_head(self, route: Route, headers: Sequence[tuple[bytes, bytes]]) -> Route:
        """The route of a request, with what its headers say about its body."""
        json_bytes = json_bytes_of(headers) if route.verb != "update" else None
        return route if json_bytes is None else route._replace(json_bytes=json_bytes)

    def decode(self, name: str, body: bytes, json_bytes: int | None) -> Query | list[Query]:
        """The queries of a body that is complete now; ``json_bytes`` as in `Route`.

        Raises:
            UnknownApplication: There is none of that name.
            BadRequest: The body is not what the application takes.
        """
        app = self.engine.application(name)
        if json_bytes is not None:
            return decode_array_body(body, json_bytes, app, self.clock())
        return decode_body(body, app, self.reader, self.clock())

    def refusal(self, error: Exception) -> Reply:
        """The reply to a request that did not become a query, or feedback."""
        if not isinstance(error, ClipperError):
            log.error("A request failed in the server.", exc_info=error)
            error = InternalError("The server failed to take this request; its log has the details.")
        self.counters.refused[error.code] += 1
        return reply_of_error(error)


def _route_of_path(path: str) -> Route | None:
    match = _PATH.fullmatch(path)
    if match is not None:
        return Route("predict" if match[2] == "predict" else "update", match[1])
    match = _INFER_PATH.fullmatch(path)
    return Route("infer", match[1], match[2]) if match is not None else None


class LaneExchange(Exchange):
    """One request of the lane: its body is gathered, and then it asks.

    What it asked for is cancelled when the connection is lost, not when the client stops sending.
    """

    expects_continue = False
    _body: bytes | bytearray = b""

    def __init__(self, line: Line, keep_alive: bool, lane: Lane, route: Route) -> None:
        self.line = line
        self.keep_alive = keep_alive
        self._lane = lane
        self._route = route

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
        """The whole request is here. The reply may be there before this returns."""
        raise NotImplementedError
