"""A multipart body as a stream of parts, one after the other, none of which is ever held as a whole."""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from clipper.errors import InvalidRequest, TooLarge


@dataclass
class Part:
    """One part: its field name, and its bytes as they arrive. Read it before the next one is asked for."""

    name: str
    chunks: AsyncIterator[bytes]

    async def read(self, max_bytes: int) -> bytes:
        """All of it, if it is small.

        Raises:
            TooLarge: It is larger than ``max_bytes``.
        """
        content = bytearray()
        async for chunk in self.chunks:
            content += chunk
            if len(content) > max_bytes:
                raise TooLarge(f"The part '{self.name}' is larger than {max_bytes} bytes.")
        return bytes(content)


@dataclass
class _Events:
    """What the parser has met and nobody has taken yet; at most one chunk's worth."""

    pending: deque[str | bytes | None] = field(default_factory=deque)
    headers: dict[str, str] = field(default_factory=dict)
    header: list[bytearray] = field(default_factory=lambda: [bytearray(), bytearray()])
    ended: bool = False

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self.headers.clear,
            "on_header_field": lambda data, start, end: self.header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self.header[1].extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": lambda data, start, end: self.pending.append(bytes(data[start:end])),
            "on_part_end": lambda: self.pending.append(None),
            "on_end": self._end,
        }

    def _header_end(self) -> None:
        name, value = (bytes(text).decode("latin-1") for text in self.header)
        self.headers[name.lower()] = value
        self.header = [bytearray(), bytearray()]

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self.headers.get("content-disposition", ""))
        self.pending.append(options.get(b"name", b"").decode("utf-8", "replace"))

    def _end(self) -> None:
        self.ended = True


async def parts(content_type: str, body: AsyncIterable[bytes]) -> AsyncIterator[Part]:
    """The parts of ``body``. What is left of a part when the next one is asked for is skipped.

    Raises:
        InvalidRequest: It is not multipart, or it ends too early.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidRequest("A deployment is multipart/form-data with a boundary.")
    events = _events(boundary, body)
    async for event in events:
        if isinstance(event, str):
            chunks = _until_end(events)
            yield Part(event, chunks)
            async for _skipped in chunks:
                pass


async def _until_end(events: AsyncIterator[str | bytes | None]) -> AsyncIterator[bytes]:
    async for event in events:
        if not isinstance(event, bytes):
            return
        yield event


async def _events(boundary: bytes, body: AsyncIterable[bytes]) -> AsyncIterator[str | bytes | None]:
    """A part's name, then its bytes, then None; and so on."""
    events = _Events()
    try:
        parser = MultipartParser(boundary, events.callbacks())  # type: ignore[arg-type]  # a TypedDict of the same keys
        async for chunk in body:
            parser.write(chunk)
            while events.pending:
                yield events.pending.popleft()
    except FormParserError as error:
        raise InvalidRequest(f"The multipart body is malformed: {error}.") from None
    if not events.ended:
        raise InvalidRequest("The multipart body ends before its last boundary.")
