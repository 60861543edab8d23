"""``grpc.health.v1.Health``: whether this frontend can answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any

import grpc

from clipper.errors import InvalidRequest, UnknownModel
from clipper.protocols import Messages
from clipper_frontends.grpc.calls import Context, abort, parse

NAME = "grpc.health.v1.Health"
LOOK_S = 0.5

_messages = Messages("grpc.health.v1")
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3


class HealthService:
    """The health of the server and of each service: they are ready together.

    Args:
        ready: Whether queries are served, and why not.
        services: The names that may be asked about, besides the empty one.
    """

    def __init__(self, ready: Callable[[], tuple[bool, str]], services: Collection[str]) -> None:
        self._ready = ready
        self._services = {"", *services}

    def handlers(self) -> Mapping[str, Any]:
        """The methods by name, as grpc takes them."""
        return {
            "Check": grpc.unary_unary_rpc_method_handler(self.check),
            "Watch": grpc.unary_stream_rpc_method_handler(self.watch),
        }

    async def check(self, data: bytes, context: Context) -> bytes:
        """How it is now."""
        status = self._status(await self._asked(data, context))
        if status == _SERVICE_UNKNOWN:
            await abort(context, UnknownModel("There is no service of that name here."))
        return _encoded(status)

    async def watch(self, data: bytes, context: Context) -> AsyncIterator[bytes]:
        """How it is, now and whenever that changes."""
        service = await self._asked(data, context)
        told = None
        while True:
            status = self._status(service)
            if status != told:
                yield _encoded(status)
                told = status
            await asyncio.sleep(LOOK_S)

    async def _asked(self, data: bytes, context: Context) -> str:
        try:
            return str(parse(_messages.HealthCheckRequest, data).service)
        except InvalidRequest as error:
            await abort(context, error)

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _SERVICE_UNKNOWN
        return _SERVING if self._ready()[0] else _NOT_SERVING


def _encoded(status: int) -> bytes:
    encoded: bytes = _messages.HealthCheckResponse(status=status).SerializeToString()
    return encoded
