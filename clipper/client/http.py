"""Requests as httpx takes them, and httpx's failures as ours: what both drivers share."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx

from clipper.client.steps import Protocol, Request, Session, Upload
from clipper.client.wire import JSON_BYTES_HEADER
from clipper.errors import InvalidRequest, Unreachable
from clipper.settings import LOOPBACK_HOSTS

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_CONNECT_TIMEOUT_S = 5.0
DEFAULT_MAX_CONNECTIONS = 100
DEFAULT_URL = "http://127.0.0.1:1338"
UPLOAD_TIMEOUT_S = 600.0
"""How long the server may take to unpack and check an artifact once it is there."""


BROKEN = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)
"""The connection was there and broke: typically one that the server closed because it was idle."""


def address(url: str) -> str:
    """``url`` without the slash at its end.

    Raises:
        InvalidRequest: It is not an http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidRequest(f"An address looks like '{DEFAULT_URL}'; '{url}' does not.")
    return url.rstrip("/")


def admin_address(url: str | None) -> str:
    """The given address, else the one in ``CLIPPER_URL``, else the default one."""
    return address(url or os.environ.get("CLIPPER_URL") or DEFAULT_URL)


def open_session(
    url: str | None, token: str | None, query_url: str | None, grpc_address: str | None, protocol: Protocol
) -> Session:
    """The addresses and the token of a connection; what is not given comes from the environment.

    Raises:
        InvalidRequest: One of the addresses is none, or there is no such protocol.
    """
    if protocol not in {"rest", "grpc"}:
        raise InvalidRequest(f"protocol must be 'rest' or 'grpc', got {protocol!r}.")
    if token is None:
        token = os.environ.get("CLIPPER_ADMIN_TOKEN")
    return Session(admin_address(url), token, address(query_url) if query_url else None, grpc_address, protocol)


def check_limits(timeout_s: float, connect_timeout_s: float, max_connections: int) -> None:
    """Refuse what would let no call through.

    Raises:
        InvalidRequest: One of them is not above 0.
    """
    limits = {"timeout_s": timeout_s, "connect_timeout_s": connect_timeout_s, "max_connections": max_connections}
    for name, value in limits.items():
        if not value > 0:
            raise InvalidRequest(f"{name} must be above 0, got {value!r}.")


def client_options(session: Session, timeout_s: float, connect_timeout_s: float) -> dict[str, Any]:
    """Keyword arguments of either httpx client.

    A proxy named in the environment is for the world outside, not for a server on this machine.
    """
    timeout = httpx.Timeout(timeout_s, connect=min(connect_timeout_s, timeout_s))
    return {"timeout": timeout, "trust_env": urlsplit(session.admin_url).hostname not in LOOPBACK_HOSTS}


def url_of(request: Request, session: Session) -> str:
    """Where a request goes."""
    return (session.admin_url if request.to == "admin" else session.query_url or "") + request.path


@contextlib.contextmanager
def payload(request: Request, session: Session, timeout_s: float) -> Iterator[dict[str, Any]]:
    """Keyword arguments of ``client.request``; a file to be sent is open meanwhile.

    The token goes to the admin API only: the query address may be anybody's.
    """
    headers: dict[str, str] = {}
    if session.token and request.to == "admin":
        headers["Authorization"] = f"Bearer {session.token}"
    options: dict[str, Any] = {"params": dict(request.params), "headers": headers}
    if request.upload is not None:
        options["timeout"] = httpx.Timeout(timeout_s, read=UPLOAD_TIMEOUT_S)
        with _multipart(request.upload) as files:
            yield options | {"files": files}
        return
    if request.body is not None:
        headers["Content-Type"] = "application/json"
        if request.json_bytes is not None:
            headers |= {"Content-Type": "application/octet-stream", JSON_BYTES_HEADER: str(request.json_bytes)}
        options["content"] = request.body
    yield options


@contextlib.contextmanager
def _multipart(upload: Upload) -> Iterator[dict[str, tuple[Any, ...]]]:
    files: dict[str, tuple[Any, ...]] = {"spec": (None, json.dumps(upload.spec).encode(), "application/json")}
    if upload.artifact is None:
        yield files
        return
    with upload.artifact.open("rb") as file:
        yield files | {"artifact": (Path(upload.artifact).name, _Watched(file, upload), "application/x-tar")}


class _Watched:
    """A file that tells how far it has been read."""

    def __init__(self, file: BinaryIO, upload: Upload) -> None:
        self._file = file
        self._upload = upload
        self.seek = file.seek
        self.tell = file.tell
        self.fileno = file.fileno

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._upload.on_sent(self._file.tell())
        return chunk


@contextlib.contextmanager
def failures_as_ours(url: str) -> Iterator[None]:
    """What keeps httpx from talking to a server becomes `Unreachable`."""
    try:
        yield
    except httpx.ConnectTimeout:
        raise Unreachable(f"Cannot reach {_origin(url)}: it does not answer.") from None
    except httpx.TimeoutException:
        raise Unreachable(f"{_origin(url)} took the request and did not answer in time.") from None
    except httpx.ConnectError as error:
        raise Unreachable(f"Cannot reach {_origin(url)}: {_reason(error)}. Is the server up (clipper up)?") from None
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Unreachable(f"The connection to {_origin(url)} broke: {_reason(error)}.") from None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _reason(error: Exception) -> str:
    """The operating system's words where there are any."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return str(error).rstrip(".") or type(error).__name__
