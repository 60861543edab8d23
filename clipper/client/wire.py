"""HTTP/1.1 as bytes: how a query is written, how its answer is read, and where both go."""

import os
import ssl
from typing import NamedTuple, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httptools

from clipper.client.steps import Reply, Request
from clipper.errors import Unreachable
from clipper.settings import LOOPBACK_HOSTS

JSON_BYTES_HEADER = "Inference-Header-Content-Length"
"""How long the JSON is that begins a body with an array behind it."""


class Broken(Exception):  # an event between two modules, no failure that a caller sees
    """The connection ended before a byte of the answer came: typically one that the server had closed as idle."""


class Place(NamedTuple):
    """Where the queries of one address go; ``base`` is the beginning of every path, ``origin`` what errors call it."""

    origin: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    base: str
    authority: str

    @classmethod
    def of(cls, url: str) -> Self:
        """The place that an http or https address names."""
        parts = urlsplit(url)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        origin = f"{parts.scheme}://{parts.netloc}"
        return cls(origin, parts.hostname or "", parts.port or (443 if tls else 80), tls, parts.path, parts.netloc)

    def request(self, request: Request) -> bytes:
        """A whole request."""
        body = request.body or b""
        content = "application/json" if request.json_bytes is None else "application/octet-stream"
        json_bytes = "" if request.json_bytes is None else f"{JSON_BYTES_HEADER}: {request.json_bytes}\r\n"
        head = (
            f"{request.method} {self.base}{request.path} HTTP/1.1\r\nHost: {self.authority}\r\n"
            f"Content-Type: {content}\r\n{json_bytes}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def unreachable(self, reason: str) -> Unreachable:
        """Nobody takes connections there."""
        return Unreachable(f"Cannot reach {self.origin}: {reason}. Is the server up (clipper up)?")

    def late(self) -> Unreachable:
        """The answer did not come."""
        return Unreachable(f"{self.origin} took the request and did not answer in time.")

    def busy(self, connections: int) -> Unreachable:
        """There was no connection to ask on."""
        return Unreachable(
            f"All {connections} connections to {self.origin} were taken, and none was free in time; "
            "pass max_connections to connect() for more."
        )

    def broke(self, reason: str) -> Unreachable:
        """The connection was there and is no more."""
        return Unreachable(f"The connection to {self.origin} broke: {reason}.")


def is_direct(url: str) -> bool:
    """Whether nothing is between this program and the server: no proxy that the environment names, no password."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.username is not None:
        return False
    return host in LOOPBACK_HOSTS or parts.scheme not in getproxies() or bool(proxy_bypass(host))


class ReplyReader:
    """Reads one reply, however its body is delimited."""

    __slots__ = ("_body", "_delimited", "_parser", "begun", "complete", "keeps_alive")

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._delimited = False
        self.begun = False
        self.complete = False
        self.keeps_alive = False
        """Whether another request may follow on the connection."""

    def feed(self, data: bytes) -> None:
        """Bytes came.

        Raises:
            httptools.HttpParserError: They are no HTTP.
        """
        self.begun = True
        self._parser.feed_data(data)

    def end(self) -> bool:
        """The other side has sent everything; whether that completes the reply."""
        self.complete = self.complete or (self.begun and not self._delimited and self._parser.get_status_code() > 0)
        return self.complete

    def reply(self, *, repeated: bool) -> Reply:
        """What came."""
        return Reply(self._parser.get_status_code(), b"".join(self._body), repeated)

    def on_header(self, name: bytes, _value: bytes) -> None:
        """Of the parser."""
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self._delimited = True

    def on_body(self, data: bytes) -> None:
        """Of the parser."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Of the parser, which knows only now whether the connection stays open."""
        self.complete = True
        self.keeps_alive = self._delimited and self._parser.should_keep_alive()


def reason_of(error: BaseException) -> str:
    """The operating system's words where there are any."""
    if isinstance(error, ConnectionError) and error.errno:  # asyncio has words of its own
        return os.strerror(error.errno).lower()
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".").lower()
