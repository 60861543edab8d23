"""An HTTP server that does as a test says, connection by connection: the other end of the client's pools."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

CLOSE = object()
HANG = object()
ANSWER = b'{"query_id": "q", "output": 1, "default": false}'


class Asked(NamedTuple):
    """A request: the how manieth of all, and of its connection."""

    number: int
    of_connection: int
    head: bytes
    body: bytes


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return f"{lines}\r\n".encode() + body


Script = Callable[[Asked], Iterable[object]]
"""What is done with a request: bytes to send, functions to call, CLOSE, HANG."""


class ScriptedServer:
    """Does with every request what ``script`` says."""

    def __init__(self, script: Script, wrap=lambda sock: sock) -> None:
        self.script = script
        self.wrap = wrap
        self.asked: list[Asked] = []
        self.connections = 0
        self.open_now = 0
        self.most_open = 0
        self.received = threading.Semaphore(0)
        self.gone = threading.Semaphore(0)
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._start_thread(self._accept)

    def stop(self) -> None:
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start_thread(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._start_thread(self._serve, peer)

    def _serve(self, raw: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
        raw.settimeout(0.05)  # to see the end of the test between two looks
        try:
            with self.wrap(raw) as peer:
                for of_connection, (head, body) in enumerate(self._requests(peer)):
                    with self._lock:
                        asked = Asked(len(self.asked), of_connection, head, body)
                        self.asked.append(asked)
                    self.received.release()
                    if not self._do(peer, self.script(asked)):
                        return
        except OSError:  # the client has gone
            pass
        finally:
            with self._lock:
                self.open_now -= 1
            self.gone.release()

    def _do(self, peer: socket.socket, actions: Iterable[object]) -> bool:
        for action in actions:
            if action is CLOSE or self.ended.is_set():
                return False
            if action is HANG:
                self._until_gone(peer)
                return False
            if callable(action):
                action()
            else:
                peer.sendall(action)
        return True

    def _until_gone(self, peer: socket.socket) -> None:
        while not self.ended.is_set():
            try:
                if not peer.recv(65536):
                    return
            except TimeoutError:
                continue

    def _requests(self, peer: socket.socket) -> Iterator[tuple[bytes, bytes]]:
        received = b""
        while not self.ended.is_set():
            head, end, rest = received.partition(b"\r\n\r\n")
            if end:
                length = int(head.lower().partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0] or 0)
                if len(rest) >= length:
                    yield head, rest[:length]
                    received = rest[length:]
                    continue
            try:
                more = peer.recv(65536)
            except TimeoutError:
                continue
            if not more:
                return
            received += more


@contextmanager
def scripted_server(script: Script, **options) -> Iterator[ScriptedServer]:
    server = ScriptedServer(script, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def then(*scripts: Iterable[object]) -> Script:
    """One script for each request of all; the last one for all that follow."""
    return lambda asked: scripts[min(asked.number, len(scripts) - 1)]
