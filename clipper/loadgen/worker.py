"""One process of the load generator: what it is told and what it says is in `clipper.loadgen.messages`."""

import asyncio
import gc
import os
import resource
import signal
import sys
import time
from contextlib import suppress

import msgspec
import uvloop

from clipper.errors import ClipperError
from clipper.loadgen.arrivals import arrival_times
from clipper.loadgen.caller import Caller, OnDone
from clipper.loadgen.closed_loop import ClosedLoop
from clipper.loadgen.dialect import http_dialect
from clipper.loadgen.http_caller import HttpCaller
from clipper.loadgen.messages import Failed, Message, Progress, Ready, encode
from clipper.loadgen.open_loop import OpenLoop
from clipper.loadgen.plan import Assignment
from clipper.loadgen.tally import Tally

REPORT_S = 0.25
_POLL_S = 0.01


def main() -> None:
    """The process. Ctrl-C is for the process that started it, which then closes standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # a connection is a file
    with suppress(BrokenPipeError):  # whoever wanted to know is gone
        uvloop.run(_work())


async def _work() -> None:
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    line = await told.readline()
    if line:
        await Worker(msgspec.json.decode(line, type=Assignment), told).run()


def _say(message: Message) -> None:
    line = encode(message) + b"\n"
    while line:
        line = line[os.write(sys.stdout.fileno(), line) :]


class Worker:
    """Carries out one assignment."""

    def __init__(self, assignment: Assignment, told: asyncio.StreamReader) -> None:
        self._plan = assignment.plan
        self._assignment = assignment
        self._told = told
        self._tally = Tally(assignment.process, self._plan.slo_s)

    async def run(self) -> None:
        """Everything: get ready, wait for the start, ask, report, wait for the last answers, report."""
        try:
            self._loop, self._caller = self._loop_and_caller()
            await self._caller.open()
        except ClipperError as failure:
            _say(Failed(failure.code, failure.message))
            return
        _say(Ready())
        start_line = await self._told.readline()
        if not start_line:
            await self._caller.close()
            return
        await self._measure(float(start_line))

    async def _measure(self, start_s: float) -> None:
        gc.collect()
        gc.freeze()  # what is there by now stays; a collection that looks through it would be lateness
        if self._assignment.target.protocol != "grpc":
            gc.disable()  # nothing that queries over HTTP leave behind is in a cycle; what grpc.aio leaves is
        stopped = asyncio.ensure_future(self._told.read())
        reporting = asyncio.ensure_future(self._report(start_s))
        asking = asyncio.ensure_future(self._loop.run(start_s))
        await asyncio.wait({stopped, asking, reporting}, return_when=asyncio.FIRST_COMPLETED)
        while asking.done() and self._caller.under_way and not stopped.done() and not reporting.done():
            await asyncio.wait({stopped}, timeout=_POLL_S)
        for task in (stopped, asking, reporting):
            task.cancel()
        results = await asyncio.gather(asking, reporting, return_exceptions=True)
        await self._caller.close()
        for result in results:
            if isinstance(result, Exception):
                raise result
        self._take(time.monotonic() - start_s)

    async def _report(self, start_s: float) -> None:
        due_s = start_s
        while True:
            due_s += REPORT_S
            await asyncio.sleep(due_s - time.monotonic())
            self._take(due_s - start_s)

    def _take(self, until_s: float) -> None:
        _say(Progress(self._tally.take(until_s, time.process_time(), self._caller.connections)))

    def _loop_and_caller(self) -> tuple[OpenLoop | ClosedLoop, Caller]:
        plan, process = self._plan, self._assignment.process
        tally = self._tally
        if plan.rate_qps is None:
            # The loop is told of every end, to begin the next; it is made first, with a caller that comes after it.
            closed = ClosedLoop(
                plan.connections_of(process),
                plan.duration_s,
                self._ask,
                tally.due,
                tally.done,
                first=process,
                step=plan.processes,
            )
            return closed, self._make_caller(closed.done)
        caller = self._make_caller(tally.done)
        times_s = arrival_times(plan.arrivals, plan.rate_qps, plan.duration_s, plan.seed, process, plan.processes)
        return OpenLoop(times_s, caller.ask, tally.due, first=process, step=plan.processes), caller

    def _ask(self, index: int, due_s: float) -> None:
        self._caller.ask(index, due_s)

    def _make_caller(self, on_done: OnDone) -> Caller:
        plan, target = self._plan, self._assignment.target
        source = self._assignment.inputs
        most = plan.connections_of(self._assignment.process)
        if target.protocol == "grpc":
            # The import of gRPC takes a while.
            from clipper.loadgen.grpc_caller import GrpcCaller  # noqa: PLC0415
            from clipper.loadgen.grpc_messages import open_queries  # noqa: PLC0415
            from clipper.loadgen.grpc_stream_caller import GrpcStreamCaller  # noqa: PLC0415

            caller = GrpcStreamCaller if target.stream else GrpcCaller
            queries = open_queries(target.application, source, plan.seed)
            return caller(target.address, queries, most, plan.timeout_s, on_done, self._tally.waited)
        dialect = http_dialect(target, source, plan.seed)
        return HttpCaller(target, dialect, most, plan.timeout_s, on_done, self._tally.waited)
