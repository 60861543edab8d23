"""What every request passes before its body is read, on both roads of the server."""

from collections.abc import Sequence

from clipper.errors import ClipperError, HeadersTooLarge, InvalidRequest, TooLarge, UnsupportedMediaType
from clipper_frontends.rest.limits import Limits

Headers = Sequence[tuple[bytes, bytes]]
"""Names as they came, in any case, and values."""

EXPECTS_CONTINUE = 1
HAS_CONNECTION = 2

_WATCHED_LENGTHS = frozenset(
    map(len, (b"content-length", b"content-encoding", b"expect", b"connection", b"transfer-encoding"))
)


def admit(method: bytes, headers: Headers, limits: Limits) -> int:
    """Let a request in, or say why not.

    Returns:
        What its headers ask for: `EXPECTS_CONTINUE` when the client waits for ``100 Continue`` before it sends a body,
        `HAS_CONNECTION` when there is a Connection header.

    Raises:
        TooLarge: The announced body is over the limit.
        UnsupportedMediaType: The body is compressed, for the request or for its transfer.
        InvalidRequest: The method opens a tunnel.
    """
    asks = 0
    for name, value in headers:
        if len(name) in _WATCHED_LENGTHS:
            asks |= _check(name.lower(), value, limits)
    if method == b"CONNECT":
        raise InvalidRequest("This server is no proxy: the method CONNECT is not served.")
    return asks


def _check(name: bytes, value: bytes, limits: Limits) -> int:
    if name == b"content-length":
        if int(value) > limits.max_body_bytes:
            raise body_too_large(limits)
    elif name == b"connection":
        return HAS_CONNECTION
    elif name == b"expect":
        return EXPECTS_CONTINUE if value.lower() == b"100-continue" else 0
    elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
        raise UnsupportedMediaType(f"The body has transfer-encoding '{value.decode('latin-1')}'; send it as 'chunked'.")
    elif name == b"content-encoding" and value.lower() not in (b"identity", b""):
        raise UnsupportedMediaType(f"The body has content-encoding '{value.decode('latin-1')}'; send it uncompressed.")
    return 0


def check_header_bytes(target: bytes, headers: Headers, limits: Limits) -> None:
    """Refuse headers that are over the limit.

    Raises:
        HeadersTooLarge: With the limit.
    """
    if len(target) + sum(len(name) + len(value) for name, value in headers) > limits.max_header_bytes:
        raise headers_too_large(limits)


def body_too_large(limits: Limits) -> ClipperError:
    """The error for a body over the limit."""
    return TooLarge(f"The body is larger than the limit of {limits.max_body_bytes} bytes.")


def headers_too_large(limits: Limits) -> ClipperError:
    """The error for headers over the limit."""
    return HeadersTooLarge(f"The headers are larger than the limit of {limits.max_header_bytes} bytes.")
