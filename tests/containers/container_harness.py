"""A dialer that sends whatever a test wants, and a replica for it."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from clipper_container import wire
from clipper_container.frames import Frame, FrameReader
from clipper_container.wire import Kind

WAIT_S = 15.0


class RawPeer:
    """A dialer without any manners of its own."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(str(path))
        self._reader = FrameReader(wire.MAX_FRAME_BYTES)
        self._frames: list[Frame] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have closed already
            self.sock.sendall(data)

    def read(self) -> Frame | None:
        """The next frame; None when the replica has closed the connection."""
        while not self._frames:
            try:
                count = self.sock.recv_into(self._reader.buffer())
            except ConnectionResetError:
                return None
            if count == 0:
                return None
            self._frames.extend(self._reader.advance(count))
        return self._frames.pop(0)

    def greet(self, replica_id: str = "r1") -> None:
        self.send(wire.control(Kind.HELLO, wire.DialerHello(replica_id, "0" * 32, "raw")))
        self.send(wire.control(Kind.AUTH, wire.Auth()))
        self.until(Kind.READY)

    def until(self, kind: Kind) -> Frame:
        while True:
            frame = self.read()
            assert frame is not None, f"the replica closed the connection before {kind.name}"
            if frame.kind == kind:
                return frame

    def farewell(self) -> str:
        """The sentence with which the replica ends this connection."""
        sentence = wire.read_text(self.until(Kind.ERROR).payload)
        assert self.read() is None
        return sentence

    def ask(self, batch_id: int = 1) -> Frame:
        self.send(wire.encode_batch(batch_id, "doubles", [bytes(8)], [time.monotonic() + 30]))
        return self.until(Kind.REPLY)


@contextlib.contextmanager
def running_replica(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A replica of the ``noop`` flavor that listens at ``path``; killed at the end if it still runs."""
    options = ["--flavor", "noop", "--listen", f"unix:{path}", "--replica", "r1"]
    command = [sys.executable, "-m", "clipper_container", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            while b'"listening"' not in process.stderr.readline():
                assert process.poll() is None
            yield process
        finally:
            process.kill()
            process.stderr.read()
