"""A client that sends bytes as they are and reads replies one by one."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Self


class Received(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: str) -> Self:
        host, port = address.rsplit(":", 1)
        return cls(*await asyncio.open_connection(host, int(port)))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def end(self) -> None:
        self.writer.write_eof()

    async def receive(self, *, head_only: bool = False) -> Received:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status_line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = 0 if head_only else int(headers.get("content-length", 0))
        return Received(int(status_line.split()[1]), headers, await self.reader.readexactly(length))

    async def receive_end(self) -> bytes:
        """What still comes until the server closes its side."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """Go away in a way that the server notices: a mere close looks like the end of sending."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def request(
    target: str = "/digits/predict",
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: tuple[str, ...] = (),
    version: str = "1.1",
    length: int | None = None,
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: test", *headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*pieces: bytes, target: str = "/digits/predict", end: bytes = b"0\r\n\r\n") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def predict(number: float, **options: Any) -> bytes:
    return request(body=json.dumps({"input": [float(number)]}).encode(), **options)


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until something that it does has happened; the test's time limit bounds the wait."""
    while not condition():  # noqa: ASYNC110  # conditions of any kind, some of which nobody signals
        await asyncio.sleep(0)


async def bounded(awaitable: Awaitable[Any], seconds: float = 10.0) -> Any:
    return await asyncio.wait_for(awaitable, seconds)
