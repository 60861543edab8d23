"""The Python client: `connect` and `connect_async`, and what they return."""

from clipper.client.asynchronous import AsyncConnection
from clipper.client.blocking import Connection
from clipper.client.feedback import Rejected, UpdateResult
from clipper.client.http import DEFAULT_CONNECT_TIMEOUT_S, DEFAULT_MAX_CONNECTIONS, DEFAULT_TIMEOUT_S
from clipper.client.operations.applications import NO_DEFAULT
from clipper.client.operations.deployment import DeployProgress
from clipper.client.prediction import Prediction
from clipper.client.steps import Protocol

__all__ = [
    "NO_DEFAULT",
    "AsyncConnection",
    "Connection",
    "DeployProgress",
    "Prediction",
    "Rejected",
    "UpdateResult",
    "connect",
    "connect_async",
]


def connect(
    url: str | None = None,
    token: str | None = None,
    query_url: str | None = None,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
    max_connections: int = DEFAULT_MAX_CONNECTIONS,
    protocol: Protocol = "rest",
    grpc_address: str | None = None,
) -> Connection:
    """A connection to the server whose admin API is at ``url``.

    Args:
        url: The admin address; by default ``CLIPPER_URL`` of the environment, else ``http://127.0.0.1:1338``.
        token: The admin token; by default ``CLIPPER_ADMIN_TOKEN`` of the environment.
        query_url: Where queries go; by default what the admin API says.
        timeout_s: How long a call may wait for the server: a query for everything, from a free connection to the last
            byte of its answer; other calls each time that they wait for bytes.
        connect_timeout_s: How much of it a connection may take to be there.
        max_connections: For queries over HTTP, and so how many may be under way; further ones wait for a free one.
            Connections are kept.
        protocol: What predictions and feedback go by: ``rest`` or ``grpc``. By both, numpy arrays travel as their
            memory. Streams are gRPC in any case; everything else is REST.
        grpc_address: Where gRPC is taken, as ``host:port``; by default what the admin API says.

    Nothing is sent before the first call; a server that is not there shows then, as `clipper.Unreachable`.

    Raises:
        BadRequest: An address is none, a limit is not above 0, or there is no such protocol.
    """
    return Connection(
        url,
        token,
        query_url,
        timeout_s=timeout_s,
        connect_timeout_s=connect_timeout_s,
        max_connections=max_connections,
        protocol=protocol,
        grpc_address=grpc_address,
    )


def connect_async(
    url: str | None = None,
    token: str | None = None,
    query_url: str | None = None,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
    max_connections: int = DEFAULT_MAX_CONNECTIONS,
    protocol: Protocol = "rest",
    grpc_address: str | None = None,
) -> AsyncConnection:
    """`connect` for programs with an event loop; every method is awaited, with the same arguments and results."""
    return AsyncConnection(
        url,
        token,
        query_url,
        timeout_s=timeout_s,
        connect_timeout_s=connect_timeout_s,
        max_connections=max_connections,
        protocol=protocol,
        grpc_address=grpc_address,
    )
