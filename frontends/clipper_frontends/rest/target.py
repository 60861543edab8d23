"""The target of a request: in origin form, in absolute form, percent-encoded, with a query."""

import urllib.parse
from typing import NamedTuple

import httptools

from clipper.errors import InvalidRequest


class Target(NamedTuple):
    """What the road of a request is chosen by, and what an ASGI scope has of it."""

    path: str
    raw_path: bytes
    query: bytes


def parse_target(target: bytes) -> Target:
    """The parts of a request target.

    Raises:
        InvalidRequest: It is none.
    """
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        shown = target[:80].decode("latin-1")
        raise InvalidRequest(f"The request target '{shown}' is not a path or a URL.") from None
    raw_path = url.path or b"/"
    return Target(urllib.parse.unquote(raw_path.decode("latin-1")), raw_path, url.query or b"")
