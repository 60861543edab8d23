"""An HTTP server inside somebody else's event loop: it opens, serves, and ends when it is told to."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import HTTPProtocolType

from clipper_frontends.rest.head import Heads
from clipper_frontends.rest.lane import Lane
from clipper_frontends.rest.limits import Limits
from clipper_frontends.rest.outbox import Outbox
from clipper_frontends.rest.protocol import Protocol
from clipper_frontends.rest.submission import HttpCounters

log = logging.getLogger(__name__)

_BACKLOG = 2048
_DATE_INTERVAL_S = 1.0
_POLL_INTERVAL_S = 0.01
_NOTICE_S = 0.2


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket bound to an address, port 0 for any free one.

    Args:
        host: Name or address.
        port: Its port.
        shared: Whether other processes of this user may `join` it.

    Raises:
        OSError: The address is in use, or not one of this machine.
    """
    listener = _bound(host, port)
    if shared:  # Only now: a socket that was already open to others would share the port of somebody else's server.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.listen(_BACKLOG)
    return listener


def join(host: str, port: int) -> socket.socket:
    """A socket bound to an address that another process of this user shares; clients come once a server starts on it.

    Raises:
        OSError: The address is not shared.
    """
    return _bound(host, port, socket.SO_REUSEPORT)


def _bound(host: str, port: int, *options: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        for option in (socket.SO_REUSEADDR, *options):
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        fault = (error.strerror or str(error)).lower()
        raise OSError(error.errno, f"{fault}: {host} port {port}. Choose another address or port.") from None
    return bound


class HttpServer:
    """Serves an ASGI application, and predictions on the fast lane where there is one.

    No signals, no lifespan, no access log, no settings read from the environment: whoever composes the process decides.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        limits: Limits,
        counters: HttpCounters | None = None,
        lane: Lane | None = None,
        protocol: Callable[..., Protocol] = Protocol,
    ) -> None:
        self._make_protocol = protocol
        self._listener = listener
        host, port = listener.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.counters = counters or (lane.counters if lane else HttpCounters())
        self._config = uvicorn.Config(
            app,
            http=cast("HTTPProtocolType", self._protocol),  # uvicorn calls it like a class
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._server = uvicorn.Server(self._config)
        heads = Heads(self._server.server_state)
        self._options: dict[str, Any] = {"limits": limits, "heads": heads, "counters": self.counters, "lane": lane}
        self._connect: Callable[[], Protocol]
        self._acceptor: asyncio.Server | None = None
        self._dates: asyncio.Task[None] | None = None

    def _protocol(self, **uvicorn_options: Any) -> Protocol:
        return self._make_protocol(**uvicorn_options, **self._options)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://{self.address}"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._server.server_state.connections)

    async def start(self) -> None:
        """Accept clients. Returns when it does."""
        loop = asyncio.get_running_loop()
        self._config.load()
        self._options["outbox"] = Outbox(loop.call_soon, self._options["heads"])
        await self._server.on_tick(0)
        self._dates = loop.create_task(self._keep_dates())
        state = self._server.server_state
        self._connect = lambda: self._protocol(config=self._config, server_state=state, app_state={}, _loop=loop)
        self._acceptor = await loop.create_server(self._connect, sock=self._listener, backlog=_BACKLOG)

    async def stop(self, grace_s: float) -> None:
        """Accept nobody any more, answer what was accepted for at most ``grace_s``, then cut what is left.

        Cancelling this while it waits leaves the rest to a second call, which may have a shorter grace.
        """
        if self._acceptor is not None:
            await self._accept_rest()
            self._acceptor.close()
        self._listener.close()
        try:
            await self._quiet(grace_s)
        except TimeoutError:
            log.warning("%d connections to %s did not end within %g s.", self.connections, self.address, grace_s)
            await self._cut()
        if self._dates is not None:
            self._dates.cancel()

    async def _accept_rest(self) -> None:
        """Whom the kernel has connected already, and who may have sent a request, would see a reset."""
        with contextlib.suppress(OSError):  # nobody else, or closed by an earlier call
            while True:
                client, _ = self._listener.accept()
                await asyncio.get_running_loop().connect_accepted_socket(self._connect, client)

    async def _quiet(self, within_s: float) -> None:
        state = self._server.server_state
        async with asyncio.timeout(within_s):
            while state.connections or state.tasks:
                for connection in cast("set[Protocol]", state.connections):
                    if not connection.stopping:  # some are still being made when the listener closes
                        connection.shutdown()
                await asyncio.sleep(_POLL_INTERVAL_S)

    async def _cut(self) -> None:
        """Disconnect everybody; applications that do not take notice are cancelled."""
        state = self._server.server_state
        for connection in list(state.connections):
            connection.transport.abort()
        while state.connections:  # noqa: ASYNC110  # uvicorn keeps plain sets
            await asyncio.sleep(_POLL_INTERVAL_S)
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=_NOTICE_S)
        for task in list(state.tasks):
            task.cancel()
        if state.tasks:
            await asyncio.wait(state.tasks)

    async def _keep_dates(self) -> None:
        """Uvicorn's tick renews the date header of both roads."""
        while True:
            await asyncio.sleep(_DATE_INTERVAL_S)
            await self._server.on_tick(0)
