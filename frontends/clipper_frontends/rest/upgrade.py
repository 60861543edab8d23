"""A request that offers to switch protocols, as it is when the offer is ignored.

httptools takes the body of such a request for the new protocol and drops it. RFC 9110, 7.8, lets a server ignore the
offer, so the head is written again without it and parsed again.
"""

from collections.abc import Iterable

_OFFER = frozenset({b"upgrade", b"http2-settings"})


def without_upgrade(method: bytes, target: bytes, http_version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of the same request without the offer. What its Connection header says beside is still meant."""
    lines = [b"%b: %b" % (name, value) for name, value in headers if name.lower() not in _OFFER]
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, target, http_version.encode()), *lines, b"", b""])
