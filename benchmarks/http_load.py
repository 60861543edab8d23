"""An open-loop HTTP client with feedback: predictions come at random moments, and some are told what was right."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

OK = 200


class Mixed(NamedTuple):
    """Latencies of the predictions and of the feedback, from the moment each was due; and what was not answered 200."""

    predictions_s: list[float]
    updates_s: list[float]
    failed: int


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time on it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._received = b""
        self._on_reply: Callable[[int, bytes], None] | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP transport can write

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        self.closed.set()

    def send(self, request: bytes, on_reply: Callable[[int, bytes], None]) -> None:
        self._on_reply = on_reply
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or self._on_reply is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        on_reply, self._on_reply = self._on_reply, None
        on_reply(int(head[9:12]), body)


class MixedLoad:
    """Asks an application ``rate_qps`` times a second (Poisson), and says of a share of the answers what was right."""

    def __init__(self, query_url: str, application: str, rate_qps: float, feedback_share: float, seed: int) -> None:
        self._parts = urlsplit(query_url)
        self._application = application
        self._rate_qps = rate_qps
        self._feedback_share = feedback_share
        self._random = random.Random(seed)  # noqa: S311  # seeded, so that the load comes again
        self._idle: list[_Connection] = []
        self._open: list[_Connection] = []
        self._sending: set[asyncio.Future[None]] = set()
        self._pending = 0
        self._all_done = asyncio.Event()
        self._result = Mixed([], [], 0)

    async def run(self, bodies: Sequence[bytes]) -> Mixed:
        """Ask all ``bodies``; returns when every answer, and that to every feedback, is there."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        self._pending = len(bodies)
        for body in bodies:
            due_s += self._random.expovariate(self._rate_qps)
            if (early_s := due_s - loop.time()) > 0:
                await asyncio.sleep(early_s)
            await self._send("predict", body, due_s, self._predicted)
        await self._all_done.wait()
        for connection in self._open:
            connection.transport.close()
            await connection.closed.wait()
        return self._result

    async def _send(self, verb: str, body: bytes, due_s: float, on_reply: Callable[[float, int, bytes], None]) -> None:
        connection = self._idle.pop() if self._idle else await self._connect()
        head = (
            f"POST /{self._application}/{verb} HTTP/1.1\r\nHost: {self._parts.netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )

        def replied(status: int, reply: bytes) -> None:
            self._idle.append(connection)
            latency_s = asyncio.get_running_loop().time() - due_s
            if status != OK:
                self._result = self._result._replace(failed=self._result.failed + 1)
            on_reply(latency_s, status, reply)

        connection.send(head.encode() + body, replied)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._parts.hostname, self._parts.port)
        self._open.append(connection)
        return connection

    def _predicted(self, latency_s: float, status: int, reply: bytes) -> None:
        self._result.predictions_s.append(latency_s)
        if status == OK and self._random.random() < self._feedback_share:
            answer = json.loads(reply)
            update = json.dumps({"query_id": answer["query_id"], "label": answer["output"]}).encode()
            due_s = asyncio.get_running_loop().time()
            sending = asyncio.ensure_future(self._send("update", update, due_s, self._updated))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
        else:
            self._one_done()

    def _updated(self, latency_s: float, _status: int, _reply: bytes) -> None:
        self._result.updates_s.append(latency_s)
        self._one_done()

    def _one_done(self) -> None:
        self._pending -= 1
        if self._pending == 0:
            self._all_done.set()
