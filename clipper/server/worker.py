"""A further frontend: a process that serves queries beside the main one, for as long as that one lives.

``python -m clipper.server.worker``: the main process starts it, speaks to its standard input and listens to its
standard output (`clipper.server.messages`). The end of the input means that the main process is gone.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import uvloop

from clipper.engine import Engine
from clipper.engine.status import view_of
from clipper.errors import ClipperError, Unavailable, from_json
from clipper.server.frontend import TICK_S, Frontend
from clipper.server.logs import log_to_stderr
from clipper.server.messages import (
    MAX_LINE_BYTES,
    Ask,
    Asked,
    Begin,
    Changed,
    Drain,
    FromWorker,
    Scrape,
    Scraped,
    Stop,
    decode_to_worker,
    encode,
    report,
)
from clipper.server.repository import WAIT_S
from clipper.settings import Settings
from clipper.state.sqlite import SqliteStore
from clipper.state.sqlite_feedback import SqliteFeedbackStore
from clipper_frontends.oip.repository import Change
from clipper_frontends.rest.server import join

log = logging.getLogger(__name__)

READY_WAIT_S = 5.0
"""Queries are taken as soon as the replicas are connected, or after so long: they are to get their reason then."""
LOOK_S = 0.02
"""How soon the main process is told of what others wait for: a revision, a replica that is connected."""
SCRAPE_TIMEOUT_S = 1.0
CHANGE_TIMEOUT_S = WAIT_S + 5.0
"""The main process answers by then, if it is there."""
ORPHAN_GRACE_S = 5.0
"""For answering what was accepted when the main process is gone. The port is wanted by the next one."""


class Main:
    """The main process, as a worker speaks to it."""

    def __init__(self, pipe: asyncio.WriteTransport) -> None:
        self._pipe = pipe
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Scraped | Asked]] = {}

    def tell(self, message: FromWorker) -> None:
        """Without waiting; where the main process does not read, messages are left out rather than kept."""
        if not self._pipe.is_closing() and self._pipe.get_write_buffer_size() < MAX_LINE_BYTES:
            self._pipe.write(encode(message))

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The metrics of the whole server. Its own alone would look like counters that were reset.

        Raises:
            Unavailable: The main process does not answer.
        """
        scraped = await self._ask(Scrape(next(self._numbers), accept), SCRAPE_TIMEOUT_S, "give the metrics")
        assert isinstance(scraped, Scraped)  # noqa: S101  # the answer to a scrape
        return scraped.text, scraped.content_type

    async def carry_out(self, change: Change) -> None:
        """As of `clipper_frontends.oip.repository.Repository`: the controller is in the main process.

        Raises:
            Unavailable: The main process does not answer.
        """
        asked = await self._ask(Ask(next(self._numbers), change), CHANGE_TIMEOUT_S, f"{change.action} the model")
        assert isinstance(asked, Asked)  # noqa: S101  # the answer to an ask
        if asked.status is not None:
            raise from_json(asked.status, asked.body)

    async def _ask(self, question: Scrape | Ask, timeout_s: float, what: str) -> Scraped | Asked:
        answer: asyncio.Future[Scraped | Asked] = asyncio.get_running_loop().create_future()
        self._waiting[question.number] = answer
        self.tell(question)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise Unavailable(
                f"The main process did not {what} within {timeout_s:g} s; ask again.", retry_after_s=timeout_s
            ) from None
        finally:
            del self._waiting[question.number]

    def answered(self, answer: Scraped | Asked) -> None:
        """An answer came, perhaps too late."""
        waiting = self._waiting.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


async def work() -> None:
    """Serve as the main process says, to the end.

    Raises:
        ClipperError: The store cannot be read.
        OSError: The address cannot be shared.
    """
    incoming, main = await _connect()
    first = await incoming.readline()
    if not first:
        return
    begin = decode_to_worker(first)
    assert isinstance(begin, Begin)  # noqa: S101  # both ends are of one version
    settings = Settings(**begin.settings)
    log_to_stderr(settings.log_level, f"frontend-{begin.number}")
    async with AsyncExitStack() as stack:
        store = await SqliteStore.open(settings.data_dir)
        stack.push_async_callback(store.close)
        feedback = await SqliteFeedbackStore.open(settings.data_dir)
        stack.push_async_callback(feedback.close)
        listener = join(begin.host, begin.port)
        frontend = Frontend(
            settings, store, feedback, listener, grpc_port=begin.grpc_port, scrape=main.scrape, repository=main
        )
        serving = asyncio.create_task(_serve(frontend, main))
        ended = asyncio.create_task(_obey(incoming, frontend, main))
        await asyncio.wait([serving, ended], return_when=asyncio.FIRST_COMPLETED)
        asked = ended.done() and ended.result()
        for task in (serving, ended):
            task.cancel()
        frontend.engine.draining = True
        await frontend.stop(settings.shutdown_grace_s if asked else min(settings.shutdown_grace_s, ORPHAN_GRACE_S))
        await asyncio.gather(serving, ended, return_exceptions=True)
        if not serving.cancelled():
            serving.result()


async def _connect() -> tuple[asyncio.StreamReader, Main]:
    """Standard input and output for messages. What anything prints goes to the log."""
    loop = asyncio.get_running_loop()
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    incoming = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(incoming), sys.stdin.buffer)
    pipe, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, output)
    return incoming, Main(pipe)


async def _serve(frontend: Frontend, main: Main) -> None:
    await frontend.follow()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_WAIT_S):
            while not frontend.engine.ready()[0]:  # noqa: ASYNC110  # asked of many links; only at the start
                await asyncio.sleep(LOOK_S)
    await frontend.take_queries()
    while True:
        unanswered_s = frontend.engine.fleet.unanswered_s()
        main.tell(report(frontend.measure(), view_of(frontend.engine), unanswered_s, frontend.loads()))
        await _news(frontend.engine)


async def _news(engine: Engine) -> None:
    """Wait until the engine serves another revision, or can ask other versions; at most a tick."""
    before = engine.revision, view_of(engine)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TICK_S):
            while (engine.revision, view_of(engine)) == before:  # noqa: ASYNC110  # asked of many links and the store
                await asyncio.sleep(LOOK_S)


async def _obey(incoming: asyncio.StreamReader, frontend: Frontend, main: Main) -> bool:
    """Do what the main process says until it says stop (True) or is gone (False)."""
    async for line in _lines(incoming):
        match decode_to_worker(line):
            case Changed():
                frontend.sync.look()
            case Drain():
                frontend.engine.draining = True
            case (Scraped() | Asked()) as answer:
                main.answered(answer)
            case Stop():
                return True
    return False


async def _lines(incoming: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while (line := await incoming.readline()).endswith(b"\n"):
        yield line


def run() -> int:
    """The whole process; returns its exit code."""
    # Signals to a terminal's or a service's whole group are for the main process, which says when to stop.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        uvloop.run(work())
    except (ClipperError, OSError, msgspec.DecodeError) as failure:
        sys.stderr.write(f"A frontend cannot serve: {failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())
