"""One connected frontend or controller, the replica's end: handshake in, bytes out without ever blocking."""

import socket
import ssl

from clipper_container import handshake, wire
from clipper_container.frames import Frame, FrameReader
from clipper_container.sockets import tune
from clipper_container.tls import WOULD_BLOCK
from clipper_container.wire import Kind, ProtocolError

MAX_UNSENT_BYTES = 32 << 20
"""What may wait for a peer that does not read. One reply may be larger; a second one then ends the connection."""


class Peer:
    """A non-blocking socket, what was received of the next frame, and what could not be sent yet.

    It belongs to the thread that polls.
    """

    def __init__(self, sock: socket.socket, replica_id: str, secret: bytes | None, connected_s: float) -> None:
        sock.setblocking(False)
        tune(sock)
        self.sock = sock
        self.reader = FrameReader()
        self.connected_s = connected_s
        self.name = "stranger"
        self.is_open = False
        self.is_last = False
        """Whether it has said, after DRAINING, that no batch follows."""
        self.unanswered = 0
        self.broken: str | None = None
        self._replica_id = replica_id
        self._secret = secret
        self._nonce = handshake.new_nonce()
        self._hello: wire.DialerHello | None = None
        self._unsent = bytearray()

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS hands out what comes record by record: a short read then does not mean that nothing is left."""
        return isinstance(self.sock, ssl.SSLSocket)

    @property
    def has_pending(self) -> bool:
        """Whether decrypted bytes wait inside of TLS, where the selector does not see them."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    @property
    def has_unsent(self) -> bool:
        """Whether bytes wait for the peer to read."""
        return bool(self._unsent)

    def greet(self, frame: Frame) -> bool:
        """Takes one frame of the handshake; True when it is complete.

        Raises:
            ProtocolError: The frame does not belong here, or the peer does not know the shared secret.
        """
        if self._hello is None and frame.kind == Kind.HELLO:
            self._hello = hello = wire.read_control(frame.payload, wire.DialerHello)
            self.name = hello.peer[:128]
            self.send(
                wire.control(
                    Kind.CHALLENGE, wire.Challenge(self._replica_id, self._nonce, self._proof("replica", hello))
                )
            )
        elif self._hello is not None and frame.kind == Kind.AUTH:
            auth = wire.read_control(frame.payload, wire.Auth)
            if self._secret is not None and not handshake.agrees(auth.proof, self._proof("dialer", self._hello)):
                raise ProtocolError("the peer does not know the shared secret; give both ends the same one")
            self.reader.max_payload_bytes = wire.MAX_FRAME_BYTES
            self.is_open = True
        else:
            raise ProtocolError(f"HELLO and then AUTH were expected, frame kind {frame.kind} came")
        return self.is_open

    def _proof(self, role: handshake.Role, hello: wire.DialerHello) -> str:
        return handshake.proof(self._secret, role, hello.nonce, self._nonce, self._replica_id)

    def send(self, data: bytes) -> bool:
        """Sends now what the socket takes and keeps the rest. False: bytes wait, or the peer is ``broken``."""
        if self._unsent and len(self._unsent) + len(data) > MAX_UNSENT_BYTES:
            self.broken = f"it does not read: {len(self._unsent)} bytes wait for it"
            return False
        sent = 0 if self._unsent else self._try_send(data)
        if sent == len(data):
            return True
        try:
            self._unsent += memoryview(data)[sent:]
        except MemoryError:
            self.broken = f"there is no memory for the {len(data) - sent} bytes that it has not read"
        return False

    def send_if_idle(self, data: bytes) -> bool:
        """Sends ``data`` unless other bytes wait already: for what may be left out. Returns as ``send``."""
        return True if self._unsent else self.send(data)

    def flush(self) -> bool:
        """Sends what waits, as far as the socket takes it; True when nothing waits any more."""
        del self._unsent[: self._try_send(self._unsent)]
        return not self._unsent

    def _try_send(self, data: bytes | bytearray) -> int:
        if self.broken is not None:
            return len(data)
        sent = 0
        try:
            sent = self.sock.send(data)
            while sent < len(data):  # TLS takes no more than a record at a time
                sent += self.sock.send(memoryview(data)[sent:])
        except WOULD_BLOCK:
            pass
        except OSError as error:
            self.broken = f"the connection broke: {error}"
        return sent

    def close(self) -> None:
        """Closes the socket; what is sent afterwards goes nowhere."""
        self.broken = self.broken or "closed"
        self._unsent.clear()
        self.sock.close()
