"""The gRPC server of one frontend."""

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

# Before grpc is imported: its handlers around fork() would run, and complain, for every replica that is started.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc

from clipper.engine.engine import Engine
from clipper_frontends.grpc import health, inference, reflection, service
from clipper_frontends.oip.repository import Repository
from clipper_frontends.rest.lane import Feedback
from clipper_frontends.rest.limits import Limits

KEEPALIVE_S = 60.0
KEEPALIVE_TIMEOUT_S = 20.0
MAX_CALLS_NOT_BEGUN = 10_000
"""Beyond so many, which take some seconds to begin, the core itself refuses some; beyond twice as many, all."""


class GrpcServer:
    """Serves on an address from `start` to `stop`, on the running event loop.

    Args:
        host: Where to listen.
        port: The same; 0 is any free one.
        engine: Who answers.
        feedback: Who takes feedback.
        limits: Of one request; the same as of the REST port.
        refused: Counts requests that never became queries, by code.
        repository: Who loads and unloads models.
        shared: Whether other processes of this server listen there too.
        clock: The engine's.

    Raises:
        OSError: The address cannot be bound.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        engine: Engine,
        feedback: Feedback,
        limits: Limits,
        refused: Counter[str],
        repository: Repository,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = grpc.aio.server(options=_options(limits, shared=shared))
        self._clipper = service.ClipperService(engine, feedback, refused, clock)
        self._inference = inference.InferenceService(engine, refused, clock, repository)
        served = {service.NAME: self._clipper.handlers(), inference.NAME: self._inference.handlers()}
        described = [*served, health.NAME, reflection.NAMES[0]]
        self._serve(served)
        self._serve({health.NAME: health.HealthService(engine.ready, served).handlers()})
        self._serve(dict.fromkeys(reflection.NAMES, reflection.ReflectionService(described).handlers()))
        self._started = False
        host = f"[{host}]" if ":" in host else host
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            fault = f"cannot listen for gRPC on {host} port {port}; choose another --grpc-port, or --host"
            raise OSError(errno.EADDRINUSE, fault) from None
        self.address = f"{host}:{self.port}"

    def _serve(self, services: Mapping[str, Mapping[str, Any]]) -> None:
        self._server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, dict(handlers)) for name, handlers in services.items())
        )

    async def start(self) -> None:
        """Take calls. Returns when it does."""
        await self._server.start()
        self._started = True

    async def stop(self, grace_s: float) -> None:
        """Take no new call, answer what was accepted for at most ``grace_s``, then cut what is left.

        Streams are told to end. Cancelling this while it waits leaves the rest to a second call.
        """
        self._clipper.streams.close()
        self._inference.streams.close()
        if not self._started:
            await self._server.start()  # grpc.aio has no other way to let go of the address
        await self._server.stop(grace_s)


def _options(limits: Limits, *, shared: bool) -> list[tuple[str, int]]:
    """Channel arguments, https://grpc.github.io/grpc/core/group__grpc__arg__keys.html."""
    return [
        # On by default, and then two servers on one port would each get a part of the calls.
        ("grpc.so_reuseport", int(shared)),
        ("grpc.max_receive_message_length", limits.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.max_header_bytes),
        # By default from 1,000 on calls are ended as CANCELLED, before anything here can say why.
        ("grpc.server.max_pending_requests", MAX_CALLS_NOT_BEGUN),
        ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_CALLS_NOT_BEGUN),
        # A client may be idle for as long as it likes, and ask whether we are there; one that is gone is noticed.
        ("grpc.keepalive_time_ms", int(KEEPALIVE_S * 1e3)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_S * 1e3)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ("grpc.http2.max_ping_strikes", 0),
    ]
