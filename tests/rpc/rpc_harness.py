"""Real replicas in processes of their own, real links, and a recorder of what a link tells."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipper.rpc.link import BatchReply, ItemError, ReplicaLink, dial

WAIT_S = 20.0


def doubles(*values: float) -> bytes:
    return np.array(values, "<f8").tobytes()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Recorder:
    """Keeps a link's events and lets a test wait for them."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._pulse = asyncio.Event()

    def on_ready(self, link: ReplicaLink) -> None:
        self._add("ready")

    def on_reply(self, link: ReplicaLink, batch_id: int, reply: BatchReply) -> None:
        self._add("reply", batch_id, reply)

    def on_refused(self, link: ReplicaLink, batch_id: int, reason: str) -> None:
        self._add("refused", batch_id, reason)

    def on_draining(self, link: ReplicaLink) -> None:
        self._add("draining")

    def on_progress(self, link: ReplicaLink, state: str, detail: str) -> None:
        self._add(state, detail)

    def on_lost(self, link: ReplicaLink, reason: str) -> None:
        self._add("lost", reason)

    def _add(self, *event: Any) -> None:
        self.events.append(event)
        self._pulse.set()

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [event for event in self.events if event[0] == kind]

    async def until(self, kind: str, count: int = 1) -> tuple[Any, ...]:
        """The ``count``-th event of a kind, once it has come."""
        async with asyncio.timeout(WAIT_S):
            while len(self.of(kind)) < count:
                self._pulse.clear()
                await self._pulse.wait()
        return self.of(kind)[count - 1]


class Client:
    """A link with its recorder."""

    def __init__(self, address: str, replica_id: str, **how: Any) -> None:
        self.seen = Recorder()
        self.link = dial(address, replica_id, self.seen, loop=asyncio.get_running_loop(), clock=time.monotonic, **how)
        self._batches = 0

    def send(self, rows: Sequence[bytes], timeout_s: float = 30.0, deadlines: Sequence[float] | None = None) -> int:
        self._batches += 1
        self.link.send(self._batches, rows, deadlines or [time.monotonic() + timeout_s] * len(rows))
        return self._batches

    async def reply(self, batch_id: int) -> BatchReply:
        async with asyncio.timeout(WAIT_S):
            count = 0
            while True:
                count += 1
                event = await self.seen.until("reply", count)
                if event[1] == batch_id:
                    reply: BatchReply = event[2]
                    return reply

    async def ask(self, *rows: bytes, **how: Any) -> list[bytes | ItemError]:
        """Sends one batch and waits for its outputs."""
        return (await self.reply(self.send(rows, **how))).outputs


class ReplicaProcess:
    """A replica of the runtime in its own process; what it printed is in files."""

    def __init__(self, folder: Path, address: str, arguments: Sequence[str]) -> None:
        self.address = address
        self.log_path, self.out_path = folder / "stderr", folder / "stdout"
        with self.log_path.open("ab") as log, self.out_path.open("ab") as out:
            command = [sys.executable, "-m", "clipper_container", "--listen", address, *arguments]
            self.process = subprocess.Popen(command, stdout=out, stderr=log, stdin=subprocess.DEVNULL)

    async def exit_code(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait, WAIT_S), WAIT_S)

    def log(self) -> list[dict[str, Any]]:
        """The structured lines; those that are not JSON are the model's own."""
        events = []
        for line in self.log_path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))
        return events

    def socket_exists(self) -> bool:
        return Path(self.address.removeprefix("unix:")).exists()

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)


class Gate:
    """Something a model waits at: a named pipe that it opens for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.code = f"open({str(path)!r}).read()"

    async def open(self) -> None:
        """Waits until the model is there, and lets it through."""
        await asyncio.wait_for(asyncio.to_thread(self._open), WAIT_S)

    async def reached(self) -> Callable[[], None]:
        """Waits until the model is there; what comes back lets it through."""
        fd = await asyncio.wait_for(asyncio.to_thread(os.open, self.path, os.O_WRONLY), WAIT_S)
        return lambda: os.close(fd)

    def _open(self) -> None:
        os.close(os.open(self.path, os.O_WRONLY))
