"""What is read from a connection: requests, and which road each of them takes.

Of uvicorn's httptools protocol this overrides what it does with bytes, and why: the scope is built for the ordinary
road only; pipelining knows one road; a request with ``Upgrade: h2c`` loses its body; end-of-file loses the answer;
garbage behind a request destroys its answer; heads, bodies, slow clients and unread replies are unbounded; every
request makes a timer.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from clipper.errors import ClipperError, InternalError, InvalidRequest
from clipper_frontends.rest.admission import (
    EXPECTS_CONTINUE,
    HAS_CONNECTION,
    admit,
    body_too_large,
    check_header_bytes,
    headers_too_large,
)
from clipper_frontends.rest.connection import Connection
from clipper_frontends.rest.exchange import Exchange
from clipper_frontends.rest.flow import Pause
from clipper_frontends.rest.head import Heads
from clipper_frontends.rest.inferring import InferExchange
from clipper_frontends.rest.known_heads import HEAD_END
from clipper_frontends.rest.lane import Lane, LaneExchange, Route, Verb
from clipper_frontends.rest.limits import Limits
from clipper_frontends.rest.ordinary import Cycle, OrdinaryExchange
from clipper_frontends.rest.outbox import Outbox
from clipper_frontends.rest.predicting import PredictExchange
from clipper_frontends.rest.submission import HttpCounters
from clipper_frontends.rest.target import parse_target
from clipper_frontends.rest.updating import UpdateExchange
from clipper_frontends.rest.upgrade import without_upgrade

log = logging.getLogger(__name__)

_LANES: Mapping[Verb, type[LaneExchange]] = {
    "predict": PredictExchange,
    "update": UpdateExchange,
    "infer": InferExchange,
}

_FED_AT_ONCE = 64 << 10
_FED_OF_MANY = 512
"""The parser takes a chunk whole. Slices bound how many requests come out of one before reading can pause: 64 KB could
be 2,000 small ones, and 50 clients who send that would keep everybody else waiting for two seconds."""


class _StopParsing(Exception):  # not an error: the only way to stop httptools inside a chunk
    """Raised in a callback of the parser when the rest of the chunk shall not be read."""


class Protocol(Connection):
    """One connection. Without a ``lane`` every request takes the ordinary road."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
        heads: Heads,
        outbox: Outbox,
        counters: HttpCounters,
        lane: Lane | None,
    ) -> None:
        super().__init__(
            config, server_state, app_state, _loop, limits=limits, heads=heads, outbox=outbox, counters=counters
        )
        self.lane = lane
        self._max_pipelined = limits.max_pipelined
        self._max_body_bytes = limits.max_body_bytes
        self._feeding = False
        self._fresh = False  # the request began in the chunk that is being fed
        self._fed_bytes = 0
        self._head_bytes = 0
        self._learnable: Route | None = None  # what was asked, by a head that may be learned

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._deaf:
            return
        lane = self.lane
        if lane is not None and not self._held and not self.arriving and self._take_known(lane, data):
            if len(self.line.waiting) >= self._max_pipelined:
                self.flow.pause(Pause.PIPELINE)
        elif self._held or len(data) > _FED_AT_ONCE or self._are_many(data):
            self._held += data
            self._feed_held()
        else:
            self._feed(data)

    # Feeding the parser.

    def _feed(self, data: bytes) -> None:
        begins = not self.arriving
        self._parse(data)
        if self.lane is not None and begins and self._learnable is not None and not self.arriving:
            self.lane.known_heads.learn(data, self._learnable, self.received_body_bytes)
        if len(self.line.waiting) >= self._max_pipelined:
            self.flow.pause(Pause.PIPELINE)

    def _take_known(self, lane: Lane, data: bytes) -> bool:
        """Take a whole request whose head is known; False leaves everything to the parser."""
        end = data.find(HEAD_END) + len(HEAD_END)
        known = lane.known_heads.get(data[:end])
        if known is None or len(data) - end != known[1]:
            return False
        route = known[0]
        exchange = _LANES[route.verb](self.line, True, lane, route)
        self.line.waiting.append(exchange)  # as `join` would do: it has nothing to begin with and no reply yet
        exchange.ask(data[end:])
        if self.stopping:
            self._stop_listening()
        return True

    def _parse(self, data: bytes) -> None:
        self._feeding = True
        self._learnable = None
        self._fed_bytes = len(data)
        body_bytes = self.received_body_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._on_parser_error(error)
        self._feeding = False
        if self.arriving:
            self._on_incomplete(brought_body=self.received_body_bytes > body_bytes)

    def _feed_held(self) -> None:
        while self._held and not self._feeding and not self.flow.blocked:
            size = _FED_OF_MANY if self._are_many(self._held[:_FED_AT_ONCE]) else _FED_AT_ONCE
            data, self._held = self._held[:size], self._held[size:]
            self._feed(data)
        if self._ended:
            self._on_all_fed()

    def _are_many(self, data: bytes) -> bool:
        """Whether more requests may be in there than are to be under way; every head ends with an empty line."""
        return len(data) > _FED_OF_MANY and data.count(HEAD_END) > self._max_pipelined

    def _feed_without_upgrade(self, rest: bytes) -> None:
        head = without_upgrade(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self._feed(head + rest)

    def _on_incomplete(self, *, brought_body: bool) -> None:
        """Bound what is neither a body nor a complete head: long heads, trailers, extensions of chunks."""
        if self._fresh:
            self._fresh = False
            self._head_bytes = 0
            self.watch.request_incomplete()  # its head is not counted yet: the chunk may be full of other requests
        elif not brought_body:
            self._head_bytes += self._fed_bytes
            if self._head_bytes > self.limits.max_header_bytes:
                self._refuse(headers_too_large(self.limits))

    def _on_parser_error(self, error: httptools.HttpParserError) -> None:
        if self._deaf:
            return
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("The server failed to take a request.", exc_info=error.__context__ or error)
            self._refuse(InternalError("The server failed to take this request; its log has the details."))
        else:
            self._refuse(InvalidRequest(f"The request is not valid HTTP: {error}."))

    # The parser's events.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.url = b""
        self.headers = []
        self.arriving = True
        self._fresh = True
        self.received_body_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; trailers are dropped."""
        if self._receiving is None:
            self.headers.append((name, value))
        elif name.lower() == b"connection":
            self._receiving.keep_alive = False  # the parser believes this trailer and stops

    def on_headers_complete(self) -> None:
        """The request chooses its road."""
        parser = self.parser
        method: bytes = parser.get_method()
        if parser.should_upgrade() and method != b"CONNECT":
            return  # comes again without the offer, see `_feed`
        try:
            if not self._fresh or self._fed_bytes > self.limits.max_header_bytes:
                check_header_bytes(self.url, self.headers, self.limits)
            asks = admit(method, self.headers, self.limits)
            keep_alive = parser.should_keep_alive()
            if asks & HAS_CONNECTION:  # without one, HTTP/1.0 is not kept alive anyway
                keep_alive = keep_alive and parser.get_http_version() != "1.0"
            lane = self.lane
            route = lane.route_of(self.url) if lane is not None and method == b"POST" else None
            exchange: Exchange
            if lane is None or route is None:
                exchange = self._ordinary(method, keep_alive=keep_alive, expects_continue=asks & EXPECTS_CONTINUE > 0)
            else:
                route = lane.route_with_head(route, self.headers)
                exchange = _LANES[route.verb](self.line, keep_alive, lane, route)
                if asks & EXPECTS_CONTINUE:
                    exchange.expects_continue = True
                elif keep_alive:
                    self._learnable = route
        except ClipperError as error:
            self._refuse(error)
            raise _StopParsing from None
        self._receiving = exchange
        self.line.join(exchange)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        exchange = self._receiving
        if exchange is None:
            return
        self.received_body_bytes += len(body)
        if self.received_body_bytes > self._max_body_bytes:
            self._refuse(body_too_large(self.limits))
            raise _StopParsing
        exchange.feed(body)

    def on_message_complete(self) -> None:
        """The request is here in full."""
        exchange = self._receiving
        if exchange is None:
            return
        self._receiving = None
        self.arriving = False
        exchange.complete()
        if self.stopping or not exchange.keep_alive:
            self._stop_listening()
            raise _StopParsing

    def _ordinary(self, method: bytes, *, keep_alive: bool, expects_continue: bool) -> OrdinaryExchange:
        target = parse_target(self.url)
        scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": self.parser.get_http_version(),
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method.decode("latin-1"),
            "root_path": self.root_path,
            "path": self.root_path + target.path,
            "raw_path": self.root_path.encode() + target.raw_path,
            "query_string": target.query,
            "headers": [(name.lower(), value) for name, value in self.headers],
            "state": self.app_state.copy(),
        }
        return OrdinaryExchange(
            self.line,
            keep_alive=keep_alive,
            transport=self.transport,
            flow=self.flow,
            start=self._start,
            cycle_options={
                "scope": scope,
                "logger": self.logger,
                "access_logger": self.access_logger,
                "default_headers": self.server_state.default_headers,
                "expect_100_continue": expects_continue,
            },
        )

    def _start(self, cycle: Cycle) -> None:
        self._start_asgi_task(cycle, self.app)
