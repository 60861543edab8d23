"""A link to one replica: dials, redials, sends batches, tells its owner what happens."""

import asyncio
import random
import ssl
from collections.abc import Callable, Sequence

from clipper.rpc.backoff import redial_delay_s
from clipper.rpc.clock import ClockOffset
from clipper.rpc.connection import Connection
from clipper.rpc.contract import BatchReply, Hello, ItemError, Link, LinkEvents
from clipper_container import wire
from clipper_container.address import UnixAddress, parse_address
from clipper_container.frames import Frame
from clipper_container.wire import Kind, ProtocolError

__all__ = ["BatchReply", "Hello", "ItemError", "Link", "LinkEvents", "ReplicaLink", "dial"]

CONNECT_TIMEOUT_S = 5.0
PING_INTERVAL_S = 10.0
PINGS_BEFORE_READY = 4


def dial(
    address: str,
    replica_id: str,
    events: LinkEvents,
    *,
    loop: asyncio.AbstractEventLoop,
    clock: Callable[[], float],
    secret: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    any_id: bool = False,
) -> "ReplicaLink":
    """A link to the replica at ``address``; returns at once, connects and redials in the background.

    ``clock`` has the seconds of CLOCK_MONOTONIC (``time.monotonic``, ``loop.time``): over a unix socket deadlines go to
    the replica as they are. Over TCP the offset to the replica's clock is measured before ``on_ready`` and kept fresh.

    ``tls`` encrypts TCP; it decides which certificates are trusted and whether the host has to be in them. With
    ``any_id`` the replica may have another id than ``replica_id``, which is then only this end's name for it.

    Raises:
        ValueError: ``address`` is neither ``unix:/path`` nor ``tcp:host:port``.
    """
    return ReplicaLink(address, replica_id, events, loop=loop, clock=clock, secret=secret, tls=tls, any_id=any_id)


class ReplicaLink:
    """See `clipper.rpc.contract.Link`, which this is."""

    def __init__(
        self,
        address: str,
        replica_id: str,
        events: LinkEvents,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        secret: bytes | None = None,
        tls: ssl.SSLContext | None = None,
        any_id: bool = False,
    ) -> None:
        self.address = address
        self.replica_id = replica_id
        self.hello: Hello | None = None
        self.ready = False
        self.problem: str | None = None
        self._endpoint = parse_address(address)
        self._events = events
        self._loop = loop
        self._clock = clock
        self._secret = secret
        self._tls = tls
        self._any_id = any_id
        self._outstanding: dict[int, int] = {}
        self._attempt = 0
        self._closed = False
        self._draining = False
        self._connection: Connection | None = None
        self._offset: ClockOffset | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._handlers: dict[int, Callable[[Frame], None]] = {
            Kind.REPLY: self._replied,
            Kind.REFUSED: self._refused,
            Kind.BUSY: self._ignored,
            Kind.STATE: self._progressed,
            Kind.READY: self._greeted,
            Kind.DRAINING: self._drains,
            Kind.PONG: self._ponged,
        }
        self._dialling = self._dial()

    @property
    def outstanding(self) -> int:
        """Batches sent on this connection without a reply."""
        return len(self._outstanding)

    @property
    def last_heard_s(self) -> float | None:
        """When bytes last came on this connection; None before the first."""
        return None if self._connection is None else self._connection.last_heard_s

    def send(self, batch_id: int, rows: Sequence[bytes], deadlines_s: Sequence[float]) -> None:
        """Sends a batch; see `Link.send`.

        Raises:
            RuntimeError: The link is not ready, or the batch id is outstanding: a fault of the caller.
        """
        if not self.ready or self._connection is None or self.hello is None or batch_id in self._outstanding:
            raise RuntimeError(f"batch {batch_id} cannot be sent: the link to {self.replica_id} is not ready or has it")
        if self._offset is not None:
            offset_s = self._offset.offset_s
            deadlines_s = [deadline_s + offset_s for deadline_s in deadlines_s]
        self._outstanding[batch_id] = len(rows)
        try:
            buffers = wire.batch_buffers(batch_id, self.hello.input_type, rows, deadlines_s)
        except ValueError as error:
            self._loop.call_soon(self._unsendable, batch_id, str(error))
        else:
            self._connection.send(*buffers)

    def stop(self) -> None:
        """Asks the replica to drain and end; wait for ``on_lost`` before closing the link."""
        if self._connection is not None and self._connection.is_open:
            self._connection.send(wire.frame(Kind.STOP))

    def close(self) -> None:
        """Ends the link. No event comes after it; what is outstanding is forgotten."""
        self._closed = True
        self.ready = False
        self._outstanding.clear()
        self._dialling.cancel()
        self._cancel_timer()
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _dial(self) -> asyncio.Task[None]:
        return self._loop.create_task(self._connect(), name=f"dial {self.address}")

    async def _connect(self) -> None:
        self._connection = connection = Connection(
            self, self.replica_id, self._secret, self._loop, self._clock, any_id=self._any_id
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._open_transport(connection)
        except (OSError, ValueError) as error:  # TimeoutError is one; ValueError: the host's name cannot be one
            connection.abort()
            self._connection = None
            self.problem = f"cannot connect to {self.address}: {str(error) or type(error).__name__}"
            self._redial_later()
        except asyncio.CancelledError:
            connection.abort()
            raise

    async def _open_transport(self, connection: Connection) -> None:
        if isinstance(self._endpoint, UnixAddress):
            await self._loop.create_unix_connection(lambda: connection, self._endpoint.path)
        else:
            host, port = self._endpoint
            await self._loop.create_connection(lambda: connection, host, port, ssl=self._tls)

    def _redial_later(self) -> None:
        if not self._closed:
            delay_s = redial_delay_s(self._attempt, random.random())  # noqa: S311  # jitter, not a secret
            self._attempt += 1
            self._timer = self._loop.call_later(delay_s, self._redial)

    def _redial(self) -> None:
        self._dialling = self._dial()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connection_opened(self, connection: Connection) -> None:
        """The handshake is done; the replica now says where it is."""
        del connection  # there is one at a time
        self.problem = None
        self._draining = False
        self._offset = None if isinstance(self._endpoint, UnixAddress) else ClockOffset()

    def connection_ended(self, connection: Connection, reason: str) -> None:
        """The connection is over, before or after its handshake."""
        del connection  # there is one at a time
        self._connection = None
        self.ready = False
        self.problem = reason
        self._outstanding.clear()
        self._cancel_timer()
        self._redial_later()
        self._events.on_lost(self, reason)

    def frame_received(self, frame: Frame) -> None:
        """Handles one frame of an open connection."""
        handler = self._handlers.get(frame.kind)
        if handler is None:
            raise ProtocolError(f"frame kind {frame.kind} is not one that a replica sends")
        handler(frame)

    def _replied(self, frame: Frame) -> None:
        reply = wire.decode_reply(frame.payload)
        if self._take(frame) != len(reply.outputs):
            raise ProtocolError(f"the reply to batch {frame.batch_id} has another number of rows than the batch")
        self._events.on_reply(self, frame.batch_id, reply)

    def _refused(self, frame: Frame) -> None:
        self._take(frame)
        self._events.on_refused(self, frame.batch_id, wire.read_text(frame.payload))

    def _take(self, frame: Frame) -> int:
        rows = self._outstanding.pop(frame.batch_id, None)
        if rows is None:
            raise ProtocolError(f"batch {frame.batch_id} was answered, but is not outstanding")
        return rows

    def _unsendable(self, batch_id: int, sentence: str) -> None:
        rows = self._outstanding.pop(batch_id, None)
        if rows is not None:
            error = ItemError("model_error", sentence)
            self._events.on_reply(self, batch_id, BatchReply([error] * rows, 0.0, 0.0))

    def _ignored(self, frame: Frame) -> None:
        """A BUSY says only that the replica lives, and ``last_heard_s`` has that already."""

    def _progressed(self, frame: Frame) -> None:
        state = wire.read_control(frame.payload, wire.State)
        if state.state == "failed":
            self.problem = state.detail
        self._events.on_progress(self, state.state, state.detail)

    def _greeted(self, frame: Frame) -> None:
        self.hello = wire.read_control(frame.payload, Hello)
        if self.hello.input_type not in wire.INPUT_TYPE_CODES:
            raise ProtocolError(f"the replica takes inputs of an unknown type, {self.hello.input_type!r}")
        if self._offset is None:
            self._become_ready()
        else:
            self._ping()

    def _become_ready(self) -> None:
        if self._draining:
            return
        self._attempt = 0
        self.ready = True
        self._events.on_ready(self)

    def _drains(self, frame: Frame) -> None:
        del frame  # has no payload
        was_ready, self.ready, self._draining = self.ready, False, True
        if was_ready:
            self._events.on_draining(self)
        if self._connection is not None:
            # Behind every batch that was sent: the replica now knows that it has refused the last one.
            self._connection.send(wire.frame(Kind.LAST))

    def _ping(self) -> None:
        if self._connection is not None:
            self._connection.send(wire.frame(Kind.PING, wire.TIME.pack(self._clock())))

    def _ponged(self, frame: Frame) -> None:
        if self._offset is None or self.hello is None or len(frame.payload) != wire.PONG_TIMES.size:
            raise ProtocolError("an answer to a ping came that nobody sent")
        sent_s, remote_s = wire.PONG_TIMES.unpack(frame.payload)
        self._offset.add(sent_s, remote_s, self._clock())
        if len(self._offset) < PINGS_BEFORE_READY:
            self._ping()
            return
        self._timer = self._loop.call_later(PING_INTERVAL_S, self._ping)
        if len(self._offset) == PINGS_BEFORE_READY:
            self._become_ready()
