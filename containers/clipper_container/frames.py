"""Received bytes into frames, without trusting what they claim."""

from collections.abc import Iterator
from typing import NamedTuple

from clipper_container.wire import HEADER, MAGIC, MAX_STRANGER_FRAME_BYTES, PROTOCOL_VERSION, Kind, ProtocolError

_SCRATCH_BYTES = 64 << 10
_FIRST_BODY_BYTES = 128 << 10


class Frame(NamedTuple):
    """One frame as it came. The payload is the receiver's own and may be written to."""

    kind: int
    batch_id: int
    payload: bytearray


class FrameReader:
    """Turns received bytes into frames; the receiver writes into ``buffer()`` and tells ``advance`` how many came.

    Memory follows the bytes that came, never the length that a header claims: a small frame is cut out of a scratch
    buffer; a large one is received straight into its own, which starts with twice the largest that this peer has really
    sent and doubles when it is full.
    """

    def __init__(self, max_payload_bytes: int = MAX_STRANGER_FRAME_BYTES) -> None:
        self.max_payload_bytes = max_payload_bytes
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._view = memoryview(self._scratch)
        self._filled = 0
        self._body: bytearray | None = None
        self._body_filled = 0
        self._head = (0, 0, 0)
        self._largest_bytes = _FIRST_BODY_BYTES

    def buffer(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._body is not None:
            return memoryview(self._body)[self._body_filled :]
        return self._view[self._filled :]

    def advance(self, count: int) -> Iterator[Frame]:
        """The frames that ``count`` more bytes in the buffer complete. Exhaust it before the next bytes come.

        Raises:
            ProtocolError: After the good frames: what follows is not a frame, of another version, or too large.
        """
        if self._body is not None:
            return self._advance_body(self._body, count)
        self._filled += count
        return self._cut()

    def _cut(self) -> Iterator[Frame]:
        position = 0
        while self._filled - position >= HEADER.size:
            kind, length, batch_id = self._check(position)
            body_at = position + HEADER.size
            if body_at + length > self._filled:
                if HEADER.size + length > _SCRATCH_BYTES:
                    self._start_body((kind, length, batch_id), body_at)
                    return
                break
            position = body_at + length
            yield Frame(kind, batch_id, self._scratch[body_at:position])
        if position:
            rest = self._scratch[position : self._filled]
            self._scratch[: len(rest)] = rest
            self._filled = len(rest)

    def _check(self, position: int) -> tuple[int, int, int]:
        magic, version, kind, _, length, batch_id = HEADER.unpack_from(self._scratch, position)
        if magic != MAGIC:
            raise ProtocolError(f"a frame starts with {MAGIC!r}, {magic!r} came: this peer does not speak the protocol")
        if version != PROTOCOL_VERSION and kind != Kind.ERROR:
            raise ProtocolError(
                f"protocol version {PROTOCOL_VERSION} was expected, {version} came: run the same release on both ends"
            )
        if length > self.max_payload_bytes:
            raise ProtocolError(
                f"a frame here has at most {self.max_payload_bytes} bytes, one of {length} was announced"
            )
        return kind, length, batch_id

    def _start_body(self, head: tuple[int, int, int], body_at: int) -> None:
        self._head = head
        self._body = bytearray(min(head[1], 2 * self._largest_bytes))
        self._body_filled = self._filled - body_at
        self._body[: self._body_filled] = self._view[body_at : self._filled]
        self._filled = 0

    def _advance_body(self, body: bytearray, count: int) -> Iterator[Frame]:
        kind, length, batch_id = self._head
        self._body_filled += count
        if self._body_filled == length:
            self._body = None
            self._largest_bytes = max(self._largest_bytes, length)
            yield Frame(kind, batch_id, body)
        elif self._body_filled == len(body):
            # A new one: the old may still be exported to the event loop and cannot be resized in place.
            self._body = bytearray(min(length, 2 * len(body)))
            self._body[: len(body)] = body
