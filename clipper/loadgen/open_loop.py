"""An open loop: every query goes when it is due, whether or not those before it have been answered.

Latency counts from the moment at which a query was due, also where this program itself was late, so that no stall on
either side is hidden ("coordinated omission", Tene).
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from clipper.loadgen.alarm import alarm

_AT_A_TIME = 64
"""A generator that has fallen behind still reads answers between so many queries."""
_NAP_S = 50e-6
"""Queries closer to each other than this go together: every ring of the alarm costs some of them."""


class OpenLoop:
    """Asks queries ``first``, ``first + step``, ... at the given moments, in seconds from the start."""

    def __init__(
        self,
        times_s: Iterator[float],
        ask: Callable[[int, float], Any],
        on_due: Callable[[float], Any],
        *,
        first: int = 0,
        step: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_due`` is told how late each query was handed to ``ask``."""
        self._times_s = times_s
        self._ask = ask
        self._on_due = on_due
        self._index = first
        self._step = step
        self._clock = clock

    async def run(self, start_s: float) -> None:
        """Ask them all; returns when the last one has gone. Cancelled, it asks no more."""
        self._start_s = start_s
        self._all_asked = asyncio.get_running_loop().create_future()
        self._alarm = alarm(self._ring)
        try:
            self._due_s = self._next_due_s()
            self._set_alarm()
            await self._all_asked
        finally:
            self._alarm.close()

    def _next_due_s(self) -> float | None:
        time_s = next(self._times_s, None)
        return None if time_s is None else self._start_s + time_s

    def _set_alarm(self) -> None:
        if self._due_s is not None:
            self._alarm.set(max(self._due_s, self._clock() + _NAP_S))
        elif not self._all_asked.done():
            self._all_asked.set_result(None)

    def _ring(self) -> None:
        for _ in range(_AT_A_TIME):
            if self._due_s is None or (late_s := self._clock() - self._due_s) < 0:
                break
            self._on_due(late_s)
            self._ask(self._index, self._due_s)
            self._index += self._step
            self._due_s = self._next_due_s()
        self._set_alarm()
