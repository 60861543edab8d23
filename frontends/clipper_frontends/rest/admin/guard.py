"""The middleware in front of every route: who may pass is decided before the body is read, and the body is bounded."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipper.errors import ClipperError, InvalidJson, RequestTimeout, TooLarge
from clipper_frontends.rest.admin.access import MULTIPART, Access
from clipper_frontends.rest.admin.failures import response_to


class Guard:
    """Pure ASGI. A multipart body is left to its route, which streams it; any other is read here, whole and bounded."""

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
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._access.check(scope["method"], headers)
            if not headers.get("content-type", "").lower().startswith(MULTIPART):
                receive = await self._read(headers, receive)
        except ClipperError as refusal:
            await response_to(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _read(self, headers: MutableMapping[str, str], receive: Receive) -> Receive:
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
                _require_json(bytes(body))
                return [{"type": "http.request", "body": bytes(body), "more_body": False}]

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than the {self._max_body_bytes} bytes that this server takes.")


def _require_json(body: bytes) -> None:
    """Stricter than the parser behind: no NaN, no lone surrogates, no number out of range; none could be stored."""
    if not body:
        return
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidJson(f"The body must be JSON: {error}.") from None
