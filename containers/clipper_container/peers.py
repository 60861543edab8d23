"""Everyone who is connected to this replica: one selector, no blocking call, batches into one queue."""

import contextlib
import selectors
import signal
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from clipper_container import wire
from clipper_container.frames import Frame
from clipper_container.listener import Listener
from clipper_container.log import Log
from clipper_container.peer import Peer
from clipper_container.sockets import off_standard_streams
from clipper_container.tls import WOULD_BLOCK, encrypt
from clipper_container.wire import BatchView, Kind, ProtocolError

HANDSHAKE_TIMEOUT_S = 10.0
MAX_PEERS = 256
_STRANGER_CHECK_S = 1.0
_TURN_BYTES = 4 << 20
"""What is received from one peer before the others have their turn."""
_ACCEPT_PAUSE_S = 0.01
_ACCEPT_LOG_INTERVAL_S = 10.0


class ReceivedBatch(NamedTuple):
    """A batch that waits for the model."""

    peer: Peer
    batch_id: int
    view: BatchView
    received_s: float


class Peers:
    """Accepts, greets and reads peers; ``poll`` is the only place where it waits.

    One thread at a time has the turn to call it; only ``run_soon``, ``request_stop`` and ``wake`` may be called from
    any thread or signal handler. ``greeting`` is what a peer is told when its handshake is done; ``refusal`` why
    batches are refused, None to take them.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        replica_id: str,
        input_type: str,
        secret: bytes | None,
        log: Log,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.batches: deque[ReceivedBatch] = deque()
        self.greeting = b""
        self.refusal: str | None = "the replica is not ready"
        self.stop_requested = False
        self.peerless_since_s: float | None = time.monotonic()
        self._replica_id = replica_id
        self._input_type = input_type
        self._secret = secret
        self._log = log
        self._tls = tls
        self._listener = listener
        self._peers: dict[socket.socket, Peer] = {}
        self._strangers: set[Peer] = set()
        self._attention: set[Peer] = set()
        self._writers: set[Peer] = set()
        self._accept_logged_s = -_ACCEPT_LOG_INTERVAL_S
        self._inbox: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        for sock in (listener.sock, self._wake_in, self._wake_out):
            sock.setblocking(False)
        self._selector.register(listener.sock, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._woken)

    @property
    def wake_fd(self) -> int:
        """For ``signal.set_wakeup_fd``: SIGTERM then asks for a stop even while no Python code can run."""
        return self._wake_out.fileno()

    def open_peers(self) -> list[Peer]:
        """Those whose handshake is done."""
        return [peer for peer in list(self._peers.values()) if peer.is_open]

    def request_stop(self) -> None:
        """Asks the replica to drain and end; for signal handlers and other threads."""
        self.stop_requested = True
        self.wake()

    def run_soon(self, action: Callable[[], None]) -> None:
        """Has the polling thread call ``action``; for other threads."""
        self._inbox.append(action)
        self.wake()

    def wake(self) -> None:
        """Ends a ``poll`` that waits in another thread."""
        with contextlib.suppress(BlockingIOError):  # full: it wakes anyway
            self._wake_out.send(b"\0")

    def poll(self, timeout_s: float | None) -> None:
        """Handles what is ready, waiting at most ``timeout_s`` (None: for ever) for something to be."""
        if self._attention:
            self._attend()
        if self._strangers:
            timeout_s = _STRANGER_CHECK_S if timeout_s is None else min(timeout_s, _STRANGER_CHECK_S)
        for key, events in self._selector.select(timeout_s):
            if not isinstance(key.data, Peer):
                key.data()
            elif key.data.sock in self._peers:  # another one's arrival may have ended it
                self._serve(key.data, events)
        if self._strangers:
            self._drop_silent_strangers()

    def send(self, peer: Peer, data: bytes) -> None:
        """Sends to one peer without blocking; what the socket does not take follows from ``poll``."""
        if not peer.send(data):
            self._attention.add(peer)

    def answered(self, batch: ReceivedBatch, reply: bytes) -> None:
        """Sends a batch's reply."""
        batch.peer.unanswered -= 1
        self.send(batch.peer, reply)

    def announce(self, data: bytes) -> None:
        """Tells everyone, and whoever comes later."""
        self.greeting = data
        for peer in self.open_peers():
            self.send(peer, data)

    def send_busy(self) -> None:
        """Tells everyone that the replica lives."""
        for peer in self.open_peers():
            if not peer.send_if_idle(wire.frame(Kind.BUSY)):
                self._attention.add(peer)

    def stop_listening(self) -> None:
        """No further peer."""
        if self._listener.sock.fileno() >= 0:
            self._selector.unregister(self._listener.sock)
            self._listener.close()

    @property
    def has_unsent(self) -> bool:
        """Whether bytes wait for a peer to read."""
        return bool(self._attention or self._writers)

    @property
    def all_said_last(self) -> bool:
        """Whether nothing more is to come from or to go to anyone."""
        return not any(peer.has_unsent or not peer.is_last for peer in self.open_peers())

    def close(self) -> None:
        """Closes every socket."""
        self.stop_listening()
        for peer in list(self._peers.values()):
            self._drop(peer, None)
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def close_in_fork(self) -> None:
        """Closes a forked process's copies of all sockets; the replica's own, and its selector, are as they were."""
        self._selector.close()
        for sock in (self._listener.sock, self._wake_in, self._wake_out, *self._peers):
            sock.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            # No file descriptor is left: the listener stays readable, and without a pause this would spin.
            self._log_seldom("accept_failed", str(error))
            time.sleep(_ACCEPT_PAUSE_S)
            return
        if len(self._peers) >= MAX_PEERS and not self._make_room():
            sock.close()
            self._log_seldom("peer_refused", f"{MAX_PEERS} peers are connected, the most there may be")
            return
        try:
            sock = off_standard_streams(sock)
            peer = Peer(
                sock if self._tls is None else encrypt(sock, self._tls),
                self._replica_id,
                self._secret,
                time.monotonic(),
            )
        except OSError as error:
            sock.close()
            self._log_seldom("accept_failed", str(error))
            return
        self._peers[peer.sock] = peer
        self._strangers.add(peer)
        self._selector.register(peer.sock, selectors.EVENT_READ, peer)

    def _make_room(self) -> bool:
        """Drops the stranger who has been silent for longest: whoever holds connections shuts nobody out."""
        oldest = min(self._strangers, key=lambda peer: peer.connected_s, default=None)
        if oldest is not None:
            self._drop(oldest, "its place was needed before it said who it is")
        return oldest is not None

    def _log_seldom(self, event: str, message: str) -> None:
        """Others decide how often this happens."""
        now_s = time.monotonic()
        if now_s - self._accept_logged_s >= _ACCEPT_LOG_INTERVAL_S:
            self._accept_logged_s = now_s
            self._log.event("warning", event, message=message)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := self._wake_in.recv(4096):
                # Other threads write zeros; the interpreter writes a signal's number even while no Python code can run.
                self.stop_requested = self.stop_requested or signal.SIGTERM in data
        while self._inbox:
            self._inbox.popleft()()

    def _serve(self, peer: Peer, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            done = peer.flush()
            if peer.broken:
                self._drop(peer, peer.broken)
                return
            if done:
                self._writers.discard(peer)
                self._selector.modify(peer.sock, selectors.EVENT_READ, peer)
        if events & selectors.EVENT_READ:
            try:
                self._receive(peer)
            except ProtocolError as error:
                peer.send(wire.error_frame(str(error)))
                self._drop(peer, str(error))
            except MemoryError:
                self._drop(peer, "there is no memory for its frame")

    def _receive(self, peer: Peer) -> None:
        taken = 0
        more = True
        while more:
            buffer = peer.reader.buffer()
            try:
                received = peer.sock.recv_into(buffer)
            except WOULD_BLOCK:
                return
            except OSError as error:
                self._drop(peer, f"the connection broke: {error}")
                return
            if received == 0:
                self._drop(peer, "it closed the connection")
                return
            for frame in peer.reader.advance(received):
                self._handle(peer, frame)
            taken += received
            may_have_more = peer.is_encrypted or received == len(buffer)  # a short read: the socket is empty
            more = peer.has_pending or (may_have_more and taken < _TURN_BYTES and peer.broken is None)

    def _handle(self, peer: Peer, frame: Frame) -> None:
        if not peer.is_open:
            if peer.greet(frame):
                self._opened(peer)
        elif frame.kind == Kind.BATCH:
            self._take_batch(peer, frame)
        elif frame.kind == Kind.PING:
            self._pong(peer, frame)
        elif frame.kind == Kind.STOP:
            self._log.event("info", "stop_requested", peer=peer.name)
            self.stop_requested = True
        elif frame.kind == Kind.LAST:
            peer.is_last = True
        else:
            raise ProtocolError(f"frame kind {frame.kind} is not one that a dialer sends")

    def _opened(self, peer: Peer) -> None:
        self._strangers.discard(peer)
        self.peerless_since_s = None
        self._log.event("debug", "peer_connected", peer=peer.name)
        if self.greeting:
            self.send(peer, self.greeting)

    def _take_batch(self, peer: Peer, frame: Frame) -> None:
        if self.refusal is not None:
            self.send(peer, wire.frame(Kind.REFUSED, self.refusal.encode(), frame.batch_id))
            return
        view = wire.decode_batch(frame.payload)
        if view.input_type != self._input_type:
            raise ProtocolError(f"this replica takes {self._input_type}, a batch of {view.input_type} came")
        if peer.unanswered >= wire.MAX_UNANSWERED_BATCHES:
            raise ProtocolError(f"at most {wire.MAX_UNANSWERED_BATCHES} batches may wait for a reply")
        peer.unanswered += 1
        self.batches.append(ReceivedBatch(peer, frame.batch_id, view, time.monotonic()))

    def _pong(self, peer: Peer, frame: Frame) -> None:
        if len(frame.payload) != wire.TIME.size:
            raise ProtocolError(f"a ping carries {wire.TIME.size} bytes, {len(frame.payload)} came")
        self.send(peer, wire.frame(Kind.PONG, bytes(frame.payload) + wire.TIME.pack(time.monotonic())))

    def _attend(self) -> None:
        """Looks after the peers whose last send did not go out whole."""
        while self._attention:
            peer = self._attention.pop()
            if peer.sock not in self._peers:
                continue
            if peer.broken:
                self._drop(peer, peer.broken)
            else:
                self._writers.add(peer)
                self._selector.modify(peer.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, peer)

    def _drop_silent_strangers(self) -> None:
        now_s = time.monotonic()
        for peer in list(self._strangers):
            if now_s - peer.connected_s > HANDSHAKE_TIMEOUT_S:
                self._drop(peer, f"it did not say who it is within {HANDSHAKE_TIMEOUT_S:g} s")

    def _drop(self, peer: Peer, reason: str | None) -> None:
        """Closes one connection; what it still wanted is not executed."""
        del self._peers[peer.sock]
        self._selector.unregister(peer.sock)
        peer.close()
        for group in (self._attention, self._writers, self._strangers):
            group.discard(peer)
        if peer.unanswered:
            self.batches = deque(batch for batch in self.batches if batch.peer is not peer)
        if peer.is_open and not self.open_peers():
            self.peerless_since_s = time.monotonic()
        if reason is not None:
            self._log.event("debug" if peer.is_open else "info", "peer_gone", peer=peer.name, message=reason)
