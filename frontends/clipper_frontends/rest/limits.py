"""What one connection and one request may use."""

from dataclasses import dataclass
from typing import Self

from clipper.settings import Settings

MAX_INPUTS_PER_REQUEST = 16_384
MAX_UPDATES_PER_REQUEST = 4096
MAX_UID_CHARS = 256
MAX_UPDATE_ID_CHARS = 256
MAX_SPEC_BYTES = 1 << 20
"""Of the part of a deployment that says what is deployed."""
MAX_FRAMING_BYTES = 64 << 10
"""Of what a multipart body has around its two parts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the HTTP server.

    Attributes:
        max_body_bytes: Of a request's body, chunked or not.
        max_header_bytes: Of a request's names and values of headers and its target together.
        request_timeout_s: How long a request may take to arrive in full, and a client may leave its answers unread.
        keep_alive_s: How long a connection may be idle between requests.
        max_pipelined: Requests under way on one connection before reading pauses.
        min_body_bytes_per_s: A body that arrives at this rate may take longer than ``request_timeout_s`` (uploads).
        linger_s: How long a refused client may go on sending before the connection is cut; closing at once would
            make the kernel discard the refusal.
    """

    max_body_bytes: int = 16 << 20
    max_header_bytes: int = 64 << 10
    request_timeout_s: float = 30.0
    keep_alive_s: float = 75.0
    max_pipelined: int = 64
    min_body_bytes_per_s: float | None = None
    linger_s: float = 2.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits of the query port."""
        return cls(
            max_body_bytes=settings.max_body_bytes,
            max_header_bytes=settings.max_header_bytes,
            request_timeout_s=settings.request_timeout_s,
            keep_alive_s=settings.keep_alive_s,
        )

    @classmethod
    def of_uploads(cls, settings: Settings) -> Self:
        """The limits of the admin port: a deployment with the largest artifact passes as a whole."""
        return cls(
            max_body_bytes=settings.max_artifact_bytes + MAX_SPEC_BYTES + MAX_FRAMING_BYTES,
            max_header_bytes=settings.max_header_bytes,
            request_timeout_s=settings.request_timeout_s,
            keep_alive_s=settings.keep_alive_s,
            min_body_bytes_per_s=16 << 10,
        )
