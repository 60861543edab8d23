"""The heads of the replies that are written without uvicorn's ordinary road."""

from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from clipper_frontends.rest.reply import JSON, Reply


class HasDefaultHeaders(Protocol):
    """Uvicorn's server state: it replaces the list once a second, with a new date."""

    default_headers: list[tuple[bytes, bytes]]


class Heads:
    """Writes replies. The head of a 200 is built once a second, not once per query."""

    __slots__ = ("_headers", "_ok", "_state")

    def __init__(self, state: HasDefaultHeaders) -> None:
        self._state = state
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._ok = b""

    def ok(self) -> bytes:
        """The head of a 200 on a connection that stays open, up to the value of its content length."""
        if self._headers is not self._state.default_headers:
            self._headers = self._state.default_headers
            self._ok = _head(200, self._headers, JSON)
        return self._ok

    def render(self, reply: Reply, *, close: bool) -> bytes:
        """Any reply; ``close`` announces that nothing follows it."""
        further = [*reply.headers, (b"connection", b"close")] if close else reply.headers
        head = _head(reply.status, [*self._state.default_headers, *further], reply.content_type)
        return b"%b%d\r\n\r\n%b" % (head, len(reply.body), reply.body)


def _head(status: int, headers: list[tuple[bytes, bytes]], content_type: bytes) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"%b%bcontent-type: %b\r\ncontent-length: " % (STATUS_LINE[status], lines, content_type)
