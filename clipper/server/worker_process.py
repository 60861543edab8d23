"""One further frontend, as the main process keeps it: started, listened to, started again when it ends."""

import asyncio
import contextlib
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec

from clipper.control.backoff import Backoff
from clipper.control.processes import exit_sentence
from clipper.errors import ClipperError, InternalError
from clipper.server.messages import (
    MAX_LINE_BYTES,
    Ask,
    Asked,
    Begin,
    Drain,
    FromWorker,
    Report,
    Scrape,
    Scraped,
    Stop,
    ToWorker,
    decode_from_worker,
    encode,
)
from clipper_frontends.oip.repository import Change

log = logging.getLogger(__name__)

RESTART_BACKOFF = Backoff(base_s=0.1, max_s=30.0)
HEALTHY_AFTER_S = 30.0
"""Having served for so long, a worker that ends counts as its first failure again."""
STOP_MARGIN_S = 1.0
"""A worker ends within the grace by itself; so much longer, and it is killed."""


class WorkerProcess:
    """Keeps one worker running until `stop`.

    Args:
        begin: The first line to each process.
        expose: From an ``Accept`` header to the metrics of the whole server and their content type.
        on_report: Told of each report when it comes.
        on_end: Told of the last report of a process that has ended.
        carry_out: Makes a change that the worker was asked for.
    """

    def __init__(
        self,
        begin: Begin,
        expose: Callable[[str], tuple[bytes, str]],
        on_report: Callable[[Report], None],
        on_end: Callable[[Report], None],
        carry_out: Callable[[Change], Awaitable[None]],
    ) -> None:
        self.report: Report | None = None
        self._begin = begin
        self._expose = expose
        self._on_report = on_report
        self._on_end = on_end
        self._carry_out = carry_out
        self._changes: set[asyncio.Task[None]] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._draining = False
        self._stopping = asyncio.Event()
        self._main = asyncio.create_task(self._keep_running(), name=f"frontend-{begin.number}")

    def tell(self, message: ToWorker) -> None:
        """Send it, if there is a process; one that starts later reads everything anew."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(encode(message))

    def drain(self) -> None:
        """Let it say that it is not ready."""
        self._draining = True
        self.tell(Drain())

    async def stop(self, grace_s: float) -> None:
        """Let it answer what it has accepted, and end; after the grace it is killed."""
        self._stopping.set()
        self.tell(Stop())
        _, late = await asyncio.wait([self._main], timeout=grace_s + STOP_MARGIN_S)
        if late:
            log.warning("Frontend %d did not end within %g s and is killed.", self._begin.number, grace_s)
            self._kill()
        await asyncio.gather(self._main, return_exceptions=True)

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _keep_running(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            started_s = time.monotonic()
            reason = await self._run_once()
            if self._stopping.is_set():
                return
            failures = 1 if time.monotonic() - started_s >= HEALTHY_AFTER_S else failures + 1
            pause_s = RESTART_BACKOFF.delay_s(failures, random.random())  # noqa: S311  # jitter
            log.warning("Frontend %d %s. It is started again in %.1f s.", self._begin.number, reason, pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _run_once(self) -> str:
        """One process from start to end; returns how it ended."""
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "clipper.server.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAX_LINE_BYTES,
                start_new_session=True,
            )
        except OSError as error:
            return f"could not be started: {error}"
        self._process = process
        try:
            self._greet()
            await self._listen(process)
            return f"(pid {process.pid}) {exit_sentence(await process.wait(), None)}"
        except ValueError:
            self._kill()
            await process.wait()
            return f"(pid {process.pid}) wrote a line of more than {MAX_LINE_BYTES} bytes and was killed"
        finally:
            self._process = None
            for change in self._changes:
                change.cancel()
            last, self.report = self.report, None
            if last is not None:
                self._on_end(last)

    def _greet(self) -> None:
        self.tell(self._begin)
        if self._draining:
            self.tell(Drain())
        if self._stopping.is_set():
            self.tell(Stop())

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        async for line in process.stdout:
            try:
                self._take(decode_from_worker(line))
            except msgspec.DecodeError:
                log.debug("Frontend %d ended in the middle of a message.", self._begin.number)
            except Exception:
                # The worker serves all the same, and has more to say.
                log.exception("A message of frontend %d could not be handled.", self._begin.number)

    def _take(self, message: FromWorker) -> None:
        match message:
            case Report():
                self.report = message
                self._on_report(message)
            case Scrape(number, accept):
                text, content_type = self._expose(accept)
                self.tell(Scraped(number, text, content_type))
            case Ask(number, change):
                task = asyncio.create_task(self._change(number, change))
                self._changes.add(task)
                task.add_done_callback(self._changes.discard)

    async def _change(self, number: int, change: Change) -> None:
        failure: ClipperError | None = None
        try:
            await self._carry_out(change)
        except ClipperError as error:
            failure = error
        except Exception:
            log.exception("A change that frontend %d was asked for could not be made.", self._begin.number)
            failure = InternalError("The server failed to make this change; its log has the details.")
        self.tell(Asked(number) if failure is None else Asked(number, failure.http_status, failure.to_json()))
