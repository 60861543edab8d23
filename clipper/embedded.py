"""``clipper.local()``: a server of one's own for a notebook or a test, gone afterwards.

The server is a process of its own (``python -m clipper up``) whose standard input is a pipe from here. It stops at the
end of that pipe, so that it goes whatever becomes of this process, kill -9 included; and it makes and removes its own
data directory, for the same reason.
"""

import asyncio
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import IO, Any

from clipper.client import AsyncConnection, Connection, connect, connect_async
from clipper.errors import Unreachable

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
LOG_TAIL_BYTES = 4000


@contextmanager
def local(**settings: str | float) -> Iterator[Connection]:
    """An embedded server, and a connection to it: own ports, own data, gone when the block ends.

    Args:
        settings: Of the server, as in `clipper.settings.Settings`: ``cache_bytes=0``, ``log_level="debug"``.

    Raises:
        Unreachable: The server did not start; the sentence ends with what it logged.
    """
    token = str(settings.get("admin_token", ""))
    with _server(settings) as addresses, connect(addresses["admin"], token, addresses["query"]) as cl:
        yield cl


@asynccontextmanager
async def local_async(**settings: str | float) -> AsyncIterator[AsyncConnection]:
    """`local` for programs with an event loop."""
    token = str(settings.get("admin_token", ""))
    server = _server(settings)
    addresses = await asyncio.to_thread(server.__enter__)
    try:
        async with connect_async(addresses["admin"], token, addresses["query"]) as cl:
            yield cl
    finally:
        await asyncio.shield(asyncio.to_thread(server.__exit__, None, None, None))


@contextmanager
def _server(settings: Mapping[str, str | float]) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryFile(prefix="clipper-log-") as log:
        process = _start(settings, log)
        try:
            yield _addresses(process, log)
        finally:
            _stop(process)


def _start(settings: Mapping[str, str | float], log: IO[bytes]) -> subprocess.Popen[bytes]:
    ports = ("--query-port", "0", "--admin-port", "0", "--grpc-port", "0")
    command = [sys.executable, "-m", "clipper", "up", *ports, "--temporary-data", "--until-eof"]
    # A server's settings in the environment are meant for another server; a Ctrl-C in the notebook is not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLIPPER_")}
    environment |= {f"CLIPPER_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.Popen(  # noqa: S603 (this interpreter and our own module)
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        start_new_session=True,
    )


def _addresses(process: subprocess.Popen[bytes], log: IO[bytes]) -> dict[str, Any]:
    """The line that the server prints when it is ready."""
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    deadline_s = time.monotonic() + START_TIMEOUT_S
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline_s - time.monotonic()))
        chunk = os.read(process.stdout.fileno(), 4096) if readable else b""
        if not chunk:
            raise Unreachable(_why_not(process, log, timed_out=not readable))
        line += chunk
    addresses: dict[str, Any] = json.loads(line)
    return addresses


def _why_not(process: subprocess.Popen[bytes], log: IO[bytes], *, timed_out: bool) -> str:
    if timed_out:
        happened = f"was not ready after {START_TIMEOUT_S:g} s"
    else:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        happened = f"ended with exit code {process.returncode} before it was ready"
    end = os.fstat(log.fileno()).st_size
    tail = os.pread(log.fileno(), LOG_TAIL_BYTES, max(0, end - LOG_TAIL_BYTES)).decode(errors="replace").strip()
    return f"The embedded server {happened}. It logged:\n{tail or '(nothing)'}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask by closing its standard input; insist if it does not go."""
    assert process.stdin is not None  # noqa: S101 (it is a pipe)
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        process.stdout.close()
