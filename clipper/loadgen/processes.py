"""Starts the processes of a run and hands on what they measure. What shows the figures does not delay the queries."""

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from clipper.errors import ClipperError, from_json
from clipper.loadgen.messages import Failed, Progress, Ready, decode
from clipper.loadgen.plan import Assignment, InputSource, Plan, Target
from clipper.loadgen.tally import Measured

_MAX_LINE_BYTES = 2**24
_HEAD_START_S = 0.1
_GOODBYE_S = 10.0


async def run(
    plan: Plan, target: Target, inputs: InputSource, on_measured: Callable[[Measured], None], stop: asyncio.Event
) -> None:
    """Carry out the plan; returns when the last answer is there, or soon after ``stop`` is set.

    ``on_measured`` is told several times a second, for every process. Cancelled, it leaves no process behind.

    Raises:
        Unreachable: There is no server.
        InvalidInput: The inputs cannot be read or drawn.
        ClipperError: A process ended before its time.
    """
    processes: list[Process] = []
    try:
        for number in range(plan.processes):
            started = await _start(Assignment(plan, target, inputs, number))
            processes.append(started)  # one by one: those that have started are ended even if the next one does not
        for process in processes:
            await _ready(process)
        await _tell(processes, b"%r\n" % (time.monotonic() + _HEAD_START_S), last=False)
        await _listen(processes, on_measured, stop)
    finally:
        await asyncio.shield(_end(processes))


async def _start(assignment: Assignment) -> Process:
    command = [sys.executable, "-m", "clipper.loadgen"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, limit=_MAX_LINE_BYTES, start_new_session=True
    )
    await _tell([process], msgspec.json.encode(assignment) + b"\n", last=False)
    return process


async def _ready(process: Process) -> None:
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    line = await process.stdout.readline()
    message = decode(line) if line else None
    if isinstance(message, Failed):
        raise from_json(None, {"code": message.code, "error": message.error})
    if not isinstance(message, Ready):
        raise ClipperError(f"A process of the load generator ended with {await process.wait()} before it was ready.")


async def _tell(processes: Sequence[Process], line: bytes, *, last: bool) -> None:
    for process in processes:
        assert process.stdin is not None  # noqa: S101 (it is a pipe)
        if not process.stdin.is_closing():
            process.stdin.write(line)
            if last:
                process.stdin.close()


async def _listen(processes: Sequence[Process], on_measured: Callable[[Measured], None], stop: asyncio.Event) -> None:
    stopping: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
    listening: asyncio.Future[Any] = asyncio.gather(*(_listen_to(process, on_measured) for process in processes))
    try:
        await asyncio.wait({stopping, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            await _tell(processes, b"", last=True)
        await listening
    finally:
        stopping.cancel()
        listening.cancel()


async def _listen_to(process: Process, on_measured: Callable[[Measured], None]) -> None:
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    while line := await process.stdout.readline():
        message = decode(line)
        if isinstance(message, Progress):
            on_measured(message.measured)
    if code := await process.wait():
        raise ClipperError(f"A process of the load generator ended with {code}; what it measured is incomplete.")


async def _end(processes: Sequence[Process]) -> None:
    """Ask by closing standard input; insist if one does not go."""
    await _tell(processes, b"", last=True)
    for process in processes:
        try:
            await asyncio.wait_for(process.wait(), _GOODBYE_S)
        except TimeoutError:
            process.kill()
            await process.wait()
