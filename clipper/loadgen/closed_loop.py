"""A closed loop: so many callers, each of whom asks the next query when the last one is answered.

A slow server is asked less: the figures say what so many callers get, not what a load of so many queries a second does.
"""

import asyncio
import time
from collections.abc import Callable

from clipper.loadgen.caller import OnDone
from clipper.loadgen.outcomes import ANSWERED, Outcome, kind_of

_PAUSE_AFTER_REFUSAL_S = 0.005
"""A refused caller that came back at once would only measure refusals."""


class ClosedLoop:
    """Keeps ``callers`` queries under way."""

    def __init__(
        self,
        callers: int,
        duration_s: float,
        ask: Callable[[int, float], None],
        on_due: Callable[[float], None],
        on_done: OnDone,
        *,
        first: int = 0,
        step: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_done`` is told what `done` is told; queries have the numbers ``first``, ``first + step``, ..."""
        self._callers = callers
        self._duration_s = duration_s
        self._ask = ask
        self._on_due = on_due
        self._on_done = on_done
        self._index = first
        self._step = step
        self._clock = clock
        self._end_s = float("inf")

    async def run(self, start_s: float) -> None:
        """Ask until the time is over. Cancelled, it asks no more."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(start_s - self._clock())
        self._end_s = start_s + self._duration_s
        try:
            for _ in range(self._callers):
                loop.call_soon(self._ask_next)
            await asyncio.sleep(self._end_s - self._clock())
        finally:
            self._end_s = 0.0

    def done(self, outcome: Outcome, latency_s: float) -> None:
        """A query is answered, or lost: its caller asks the next one."""
        self._on_done(outcome, latency_s)
        loop = asyncio.get_running_loop()
        if kind_of(outcome) in {ANSWERED, "default"}:
            loop.call_soon(self._ask_next)
        else:
            loop.call_later(_PAUSE_AFTER_REFUSAL_S, self._ask_next)

    def _ask_next(self) -> None:
        now_s = self._clock()
        if now_s >= self._end_s:
            return
        index, self._index = self._index, self._index + self._step
        self._on_due(0.0)
        self._ask(index, now_s)
