"""One connection to a replica: socket options, handshake, frames in, bytes out. It lives once; the link redials."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Protocol, cast

from clipper_container import handshake, wire
from clipper_container.frames import Frame, FrameReader
from clipper_container.sockets import tune
from clipper_container.wire import Kind, ProtocolError

HANDSHAKE_TIMEOUT_S = 10.0
"""Inside a C call that holds its interpreter's lock a replica answers nobody; it is not dead for that."""


class ConnectionOwner(Protocol):
    """Whom a connection tells; each is called on the event loop."""

    def connection_opened(self, connection: "Connection", /) -> None:
        """Both ends have shown who they are."""

    def frame_received(self, frame: Frame, /) -> None:
        """A frame came after the handshake; may raise `ProtocolError`, which ends the connection."""

    def connection_ended(self, connection: "Connection", reason: str, /) -> None:
        """It is over, once; nothing comes after it."""


class Connection(asyncio.BufferedProtocol):
    """Dialer's end of the container protocol over one transport."""

    def __init__(
        self,
        owner: ConnectionOwner,
        replica_id: str,
        secret: bytes | None,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        *,
        any_id: bool = False,
    ) -> None:
        self.last_heard_s: float | None = None
        self.is_open = False
        """Whether the handshake is done."""
        self._owner = owner
        self._replica_id = replica_id
        self._any_id = any_id
        self._secret = secret
        self._loop = loop
        self._clock = clock
        self._reader = FrameReader()
        self._nonce = handshake.new_nonce()
        self._handle: Callable[[Frame], None] = self._challenged
        self._transport: asyncio.Transport | None = None
        self._timeout: asyncio.TimerHandle | None = None
        self._ended = False

    def send(self, *buffers: bytes) -> None:
        """Writes whole frames, in one or more pieces; nothing once the connection has ended."""
        if self._transport is not None and not self._ended:
            self._transport.writelines(buffers)

    def abort(self) -> None:
        """Ends the connection without telling the owner."""
        self._ended = True
        if self._timeout is not None:
            self._timeout.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets the replica."""
        self._transport = cast("asyncio.Transport", transport)
        if self._ended:  # closed while the connect was under way
            self._transport.abort()
            return
        tune(transport.get_extra_info("socket"))
        self._timeout = self._loop.call_later(
            HANDSHAKE_TIMEOUT_S, self._end, f"the replica did not greet within {HANDSHAKE_TIMEOUT_S:g} s"
        )
        peer = f"{socket.gethostname()}:{os.getpid()}"
        self.send(wire.control(Kind.HELLO, wire.DialerHello(self._replica_id, self._nonce, peer)))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the event loop receives the next bytes."""
        del sizehint  # the reader knows how much is missing
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Handles every frame that is complete now."""
        self.last_heard_s = self._clock()
        try:
            for frame in self._reader.advance(nbytes):
                if self._ended:
                    return
                self._handle(frame)
        except ProtocolError as error:
            self._end(f"the replica broke the protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._end("the replica closed the connection" if exc is None else f"the connection broke: {exc}")

    def _end(self, reason: str) -> None:
        if not self._ended:
            self.abort()
            self._owner.connection_ended(self, reason)

    def _challenged(self, frame: Frame) -> None:
        if frame.kind == Kind.ERROR:
            self._failed(frame)
            return
        if frame.kind != Kind.CHALLENGE:
            raise ProtocolError(f"a challenge was expected first, frame kind {frame.kind} came")
        challenge = wire.read_control(frame.payload, wire.Challenge)
        if self._any_id:
            self._replica_id = challenge.replica_id
        if challenge.replica_id != self._replica_id:
            self._end(f"replica {challenge.replica_id!r} answers at this address, {self._replica_id!r} was dialled")
        elif self._secret is not None and not handshake.agrees(challenge.proof, self._proof("replica", challenge)):
            self._end("the replica does not know the shared secret; give both ends the same one")
        else:
            self._open(challenge)

    def _proof(self, role: handshake.Role, challenge: wire.Challenge) -> str:
        return handshake.proof(self._secret, role, self._nonce, challenge.nonce, self._replica_id)

    def _open(self, challenge: wire.Challenge) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        self._reader.max_payload_bytes = wire.MAX_FRAME_BYTES
        self._handle = self._opened
        self.is_open = True
        self.send(wire.control(Kind.AUTH, wire.Auth(self._proof("dialer", challenge))))
        self._owner.connection_opened(self)

    def _opened(self, frame: Frame) -> None:
        if frame.kind == Kind.ERROR:
            self._failed(frame)
        else:
            self._owner.frame_received(frame)

    def _failed(self, frame: Frame) -> None:
        self._end(f"the replica ended the connection: {wire.read_text(frame.payload)}")
