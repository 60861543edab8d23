"""The middleware in front of every route: who may pass is decided before the body is read, and the body is bounded."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipper.errors import ClipperError, InvalidRequest, RequestTimeout, TooLarge, UnsupportedMediaType
from clipper.json_encoding import decode
from clipper_frontends.rest.admin.access import MULTIPART, Access
from clipper_frontends.rest.failures import response
from clipper_frontends.rest.reply import reply_of_error

_UPLOADS = re.compile(r"/admin/models/[^/]+/versions")
_ONCE = frozenset({"host", "origin", "authorization", "content-type", "sec-fetch-site"})
"""What decides whether a request passes comes once, or two readers could each believe another one."""


class Guard:
    """Pure ASGI. A deployment is left to its route, which streams it; other bodies are read here, whole and bounded."""

    def __init__(self, app: ASGIApp, access: Access, max_body_bytes: int, body_timeout_s: float) -> None:
        self._app = app
        self._access = access
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = _by_name(scope["headers"])
            self._access.check(scope["method"], headers)
            if not _is_upload(scope, headers):
                receive = await self._read(headers, receive)
        except ClipperError as refusal:
            await response(reply_of_error(refusal))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> Receive:
        """The body, bounded in size and time, as a channel that gives it out once more."""
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                messages = await self._messages(receive)
        except TimeoutError:
            raise RequestTimeout(f"The body did not arrive within {self._body_timeout_s:g} s.") from None
        pending = iter(messages)

        async def replay() -> Message:
            message = next(pending, None)
            return message if message is not None else await receive()

        return replay

    async def _messages(self, receive: Receive) -> list[dict[str, Any]]:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return [dict(message)]
            body += message.get("body", b"")
            if len(body) > self._max_body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                if body:
                    decode(bytes(body), "The body")  # stricter than the parser behind, which takes NaN
                return [{"type": "http.request", "body": bytes(body), "more_body": False}]

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than the {self._max_body_bytes} bytes that this server takes.")


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name_bytes, value in headers:
        name = name_bytes.decode("latin-1").lower()
        if name in found and name in _ONCE:
            raise InvalidRequest(f"The header '{name}' came more than once.")
        found[name] = value.decode("latin-1")
    return found


def _is_upload(scope: Scope, headers: Mapping[str, str]) -> bool:
    if not headers.get("content-type", "").lower().startswith(MULTIPART):
        return False
    if scope["method"] != "POST" or not _UPLOADS.fullmatch(scope["path"]):
        raise UnsupportedMediaType(f"Only a deployment is {MULTIPART}; everything else is application/json.")
    return True
