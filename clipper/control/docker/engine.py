"""The connection to a Docker engine: where it is, what may be asked of it without blocking, what its errors mean."""

import asyncio
import contextlib
import os
import platform
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from clipper.errors import Unavailable

if TYPE_CHECKING:
    from docker import DockerClient

CALL_TIMEOUT_S = 30.0
MAX_CALLS = 16
"""At once; each is a thread and a connection."""
LOOPBACK = "127.0.0.1"

P = ParamSpec("P")
T = TypeVar("T")
Reach = Literal["auto", "direct", "published"]


class EngineRefused(Unavailable):
    """The engine cannot be asked, or says no; the sentence has its words."""


class Engine:
    """An engine, asked in threads.

    Args:
        client: Connected already; see `connect`.
        base_url: As in ``DOCKER_HOST``.
        reach: How containers are dialled.
    """

    def __init__(self, client: "DockerClient", base_url: str, reach: Reach) -> None:
        self.client = client
        self.base_url = base_url
        self._host = _host(base_url)
        self._is_direct = reach == "direct" or (reach == "auto" and self._host is None and _shares_this_kernel(client))
        self._turns = asyncio.Semaphore(MAX_CALLS)

    @property
    def publishes_on(self) -> str | None:
        """The engine's address on which containers' ports are published; None: they are dialled at their own.

        On a remote engine all of its addresses: there is no telling which of them is ours to reach.
        """
        if self._is_direct:
            return None
        return LOOPBACK if self._host in {None, LOOPBACK, "localhost", "::1"} else "0.0.0.0"

    @property
    def host(self) -> str:
        """The name under which published ports are reached."""
        return self._host or LOOPBACK

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``function`` in a thread. Cancelling the wait does not end the call: what it makes must be found again.

        Raises:
            EngineRefused: The engine did not do it.
        """
        async with self._turns:
            return await _in_thread(function, *args, **kwargs)

    async def call_for_long(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what may take minutes: it takes nobody's turn.

        Raises:
            EngineRefused: The engine did not do it.
        """
        return await _in_thread(function, *args, **kwargs)

    def close(self) -> None:
        """Waits for no call that is under way."""
        self.client.close()


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread of its own, that nobody waits for at exit: an engine that hangs does not keep the server."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if done.done():  # cancelled
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", result))

    def run() -> None:
        result, error = None, None
        try:
            result = asking(function, *args, **kwargs)
        except Exception as failure:  # noqa: BLE001  # it is raised where the call is awaited
            error = failure
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="docker", daemon=True).start()
    return await done


def connect(reach: Reach = "auto") -> Engine:
    """The engine that ``DOCKER_HOST`` names, or the one of this host. Blocks; use a thread.

    Raises:
        EngineRefused: The SDK is not installed, or no engine answers.
    """
    try:
        import docker  # noqa: PLC0415  # an extra: only the Docker manager needs it
    except ImportError:
        raise EngineRefused(
            "The Docker manager needs the package 'docker': install it with pip install 'clipper-serving[docker]'."
        ) from None
    base_url = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"

    def open_client() -> "DockerClient":
        client = docker.from_env(timeout=int(CALL_TIMEOUT_S), max_pool_size=MAX_CALLS)
        client.ping()
        return client

    try:
        client = asking(open_client)
    except EngineRefused as error:
        raise EngineRefused(
            f"There is no Docker engine at {base_url}: {error} Start it, name another one in DOCKER_HOST, or use "
            "--manager process."
        ) from None
    return Engine(client, base_url, reach)


def asking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``function``, which asks the engine.

    Raises:
        EngineRefused: For every error of the SDK or of the connection.
    """
    import requests.exceptions  # noqa: PLC0415  # comes with the SDK
    from docker.errors import DockerException  # noqa: PLC0415  # an extra

    try:
        return function(*args, **kwargs)
    except (DockerException, requests.exceptions.RequestException) as error:
        raise EngineRefused(engine_sentence(error)) from error


def engine_sentence(error: Exception) -> str:
    """What an error of the SDK says to people."""
    explanation: Any = getattr(error, "explanation", None)
    if explanation:
        text = str(explanation).strip()
        return text if text.endswith((".", "!", "?")) else f"{text}."
    if getattr(error, "response", None) is None:
        return f"the Docker engine does not answer ({_innermost(error)})."
    return f"{error}."


def is_missing(error: EngineRefused) -> bool:
    """Whether what was asked for is not there."""
    return _status(error) == 404  # noqa: PLR2004  # HTTP


def is_conflict(error: EngineRefused) -> bool:
    """Whether the name is taken, or the container is not in a state for it."""
    return _status(error) == 409  # noqa: PLR2004  # HTTP


def _status(error: EngineRefused) -> int | None:
    return getattr(error.__cause__, "status_code", None)


def _innermost(error: BaseException) -> str:
    while True:
        reason = getattr(error, "reason", None)
        inner = (
            reason
            if isinstance(reason, BaseException)
            else next((argument for argument in error.args if isinstance(argument, BaseException)), None)
        )
        if inner is None:
            return getattr(error, "strerror", None) or str(error)
        error = inner


def _host(base_url: str) -> str | None:
    """The engine's host name; None where it is behind a socket of this host."""
    parts = urlsplit(base_url)
    return None if parts.scheme in {"unix", "http+unix", "npipe"} else parts.hostname


def _shares_this_kernel(client: "DockerClient") -> bool:
    """Whether containers' own addresses can be reached from here: not where the engine is in a virtual machine."""
    return platform.system() == "Linux" and "Docker Desktop" not in str(client.info().get("OperatingSystem"))
