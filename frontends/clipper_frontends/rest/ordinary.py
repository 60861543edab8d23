"""A request on uvicorn's ordinary road: an ASGI application in a task of its own."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from clipper.errors import ClipperError, InternalError
from clipper_frontends.rest.exchange import Connection, Exchange, Line
from clipper_frontends.rest.flow import ReadGate
from clipper_frontends.rest.reply import reply_of_error


class Cycle(RequestResponseCycle):
    """Uvicorn's cycle; what it says when an application breaks has the shape of our errors."""

    async def send_500_response(self) -> None:
        """Answer for an application that raised, or was stopped, before it answered."""
        reply = reply_of_error(InternalError("The server failed to answer; its log has the details."))
        length = b"%d" % len(reply.body)
        headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": reply.body, "more_body": False})


class OrdinaryExchange(Exchange):
    """Stands between uvicorn's cycle and the transport: the cycle can neither close it nor write out of turn."""

    def __init__(
        self,
        line: Line,
        *,
        keep_alive: bool,
        transport: asyncio.Transport,
        flow: ReadGate,
        start: Callable[[Cycle], None],
        cycle_options: dict[str, Any],
    ) -> None:
        super().__init__(line, keep_alive)
        self._transport = transport
        self._flow = flow
        self._start = start
        self.cycle = Cycle(
            transport=self,  # type: ignore[arg-type]  # the three methods below are all that a cycle uses
            flow=flow,
            message_event=asyncio.Event(),
            keep_alive=keep_alive,
            on_response=self._answered,
            access_log=False,
            **cycle_options,
        )

    def begin(self, connection: Connection) -> None:  # noqa: ARG002  # the cycle writes through `write`
        """Run the application."""
        self._start(self.cycle)

    def feed(self, data: bytes) -> None:
        """Hand over a piece of the body; reading pauses while the application does not take it."""
        cycle = self.cycle
        if cycle.response_complete or cycle.disconnected:
            return
        cycle.body += data
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        cycle.message_event.set()

    def complete(self) -> None:
        """The body ends."""
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def fail(self, error: ClipperError) -> None:
        """Answer with ``error`` where the application has not begun to answer; cut the connection where it has."""
        if self.cycle.response_complete:
            self.keep_alive = False
        elif self.cycle.response_started:
            self._transport.abort()
        else:
            super().fail(error)

    def abandon(self) -> None:
        """Tell the application that the client is gone."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _answered(self) -> None:
        self._flow.resume_reading()
        self.keep_alive = self.keep_alive and self.cycle.keep_alive
        self.done = True
        self.line.advance(self)

    def write(self, data: bytes) -> None:
        """Called by the cycle, which runs only while it is this exchange's turn."""
        if not self.cycle.disconnected:
            self._transport.write(data)

    def close(self) -> None:
        """Called by the cycle behind a last reply, or when the application broke off in the middle of one."""
        if not self.cycle.response_complete and not self.cycle.disconnected:
            self._transport.abort()

    def is_closing(self) -> bool:
        """Called by the cycle before it asks for a body."""
        return self._transport.is_closing()
