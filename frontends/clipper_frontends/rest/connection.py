"""The life of one connection: it opens, its requests are answered in order, it ends in good order or is cut."""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from clipper.errors import ClipperError, InvalidRequest, RequestTimeout
from clipper_frontends.rest.exchange import Exchange, Line
from clipper_frontends.rest.flow import Pause, ReadGate
from clipper_frontends.rest.head import Heads
from clipper_frontends.rest.limits import Limits
from clipper_frontends.rest.outbox import Outbox
from clipper_frontends.rest.reply import Reply, reply_of_error
from clipper_frontends.rest.submission import HttpCounters
from clipper_frontends.rest.watch import Watch

_CLOSE_IDLE_AFTER_S = 0.1


class Connection(HttpToolsProtocol):
    """Uvicorn's connection with one line of replies, bounds and a good end; `Protocol` adds what is read from it."""

    flow: ReadGate

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
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = limits
        self.heads = heads
        self.outbox = outbox
        self.counters = counters
        self._keep_alive_s = limits.keep_alive_s
        self.line = Line(self, self._on_line_shorter)
        self.watch = Watch(self, self.loop, limits)
        self.arriving = False  # a request has begun and is not here in full
        self.received_body_bytes = 0  # of the request that is arriving, or came last
        self.ending = False  # no further request will be taken
        self.stopping = False  # the server shuts down
        self._receiving: Exchange | None = None  # whose head is here and whose body is not
        self._ended = False  # the client has sent its last byte
        self._deaf = False  # what still comes is thrown away
        self._refused = False  # the client may not know yet that nothing is read any more
        self._held = b""  # what came and waits until fewer requests are under way

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        super().connection_made(transport)
        self.flow = ReadGate(transport)
        self.watch.start()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the reason changes nothing
        """Nobody is there any more: everything under way is cancelled."""
        self.watch.stop()
        self.connections.discard(self)
        self._deaf = True
        self._held = b""
        self._receiving = None
        self.line.abandon()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]  # as uvicorn does: breaks the cycle of references

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own contract has it
        """The client sends no more, and may well be reading: what is under way is answered."""
        self._ended = True
        self.outbox.flush()
        self._on_all_fed()
        return bool(self.line.waiting or self._held)

    def pause_writing(self) -> None:
        """The client does not read its replies: nothing more is read from it."""
        self.flow.pause_writing()
        self.flow.pause(Pause.UNREAD)
        self.watch.replies_unread(unread=True)

    def resume_writing(self) -> None:
        """The client reads again."""
        self.flow.resume_writing()
        self.flow.resume(Pause.UNREAD)
        self.watch.replies_unread(unread=False)
        self._feed_held()

    def shutdown(self) -> None:
        """Answer what has been accepted, then close. Called by the server.

        A request may be on its way already, so an idle connection is closed a moment later.
        """
        self.stopping = self.ending = True
        if not self.line.waiting:
            self.loop.call_later(_CLOSE_IDLE_AFTER_S, self._close_if_idle)
        elif self._receiving is None:
            self._stop_listening()

    def _feed_held(self) -> None:
        """Parse what waits, as far as it may be taken now."""
        raise NotImplementedError

    def _on_all_fed(self) -> None:
        """The client has sent its last byte."""
        if self._held:
            return
        self.ending = True
        if self.arriving:
            self._refuse(InvalidRequest("The connection ended before the request was complete."))
        elif not self.line.waiting:
            self.outbox.flush()
            self.transport.close()

    # Replies.

    def write(self, data: bytes) -> None:
        """Send bytes to a client that may be gone."""
        self.outbox.flush()
        if not self.transport.is_closing():
            self.transport.write(data)

    def write_ok(self, body: bytes) -> None:
        """Send a 200 on a connection that stays open."""
        self.outbox.put_ok(self.transport, body)

    def write_reply(self, reply: Reply, *, close: bool) -> None:
        """Send any reply."""
        self.write(self.heads.render(reply, close=close))

    def finish(self) -> None:
        """The last reply was sent. A client that may still be sending gets a moment to read it first."""
        self.outbox.flush()
        lingers = (self._refused or self.arriving) and not self._ended
        self._stop_listening()
        if self.transport.is_closing():
            return
        if lingers and self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_for_good()
            self.watch.lingering()
        else:
            self._close()

    def _close_if_idle(self) -> None:
        if not self.line.waiting and not self.transport.is_closing():
            self.outbox.flush()
            self._stop_listening()
            self.transport.close()

    def _close(self) -> None:
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.watch.replies_unread(unread=True)

    def _refuse(self, error: ClipperError) -> None:
        """Answer with ``error`` when it is its turn, and take nothing more from this connection."""
        self.counters.refused[error.code] += 1
        exchange, self._receiving = self._receiving, None
        self._stop_listening()
        self._refused = True
        if exchange is None:
            self.line.join(Exchange(self.line, keep_alive=False, reply=reply_of_error(error)))
        elif exchange.done:
            self.finish()
        else:
            exchange.fail(error)

    def _stop_listening(self) -> None:
        self._deaf = True
        self._held = b""
        self.arriving = False

    def _on_line_shorter(self) -> None:
        waiting = self.line.waiting
        if not waiting:
            self.watch.idle_due_s = self.loop.time() + self._keep_alive_s
        if self.flow.read_paused:
            if len(waiting) <= self.limits.max_pipelined // 2:
                self.flow.resume(Pause.PIPELINE)
            self._feed_held()

    # What the watch sees and does.

    @property
    def busy(self) -> bool:
        """Whether replies are still to come."""
        return len(self.line.waiting) > 0

    @property
    def reading_paused(self) -> bool:
        """Whether it is this side that does not read."""
        return self.flow.read_paused

    def on_request_overdue(self) -> None:
        """Slow clients are told so."""
        seconds = self.limits.request_timeout_s
        self._refuse(RequestTimeout(f"The request did not arrive in full within {seconds:g} s."))

    def on_idle_too_long(self) -> None:
        """Keep-alive ends."""
        self._close()

    def on_client_stuck(self) -> None:
        """There is no way to tell this client anything."""
        self.transport.abort()
