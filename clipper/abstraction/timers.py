"""Time as the abstraction layer sees it: a clock, the next turn of the loop, and one-shot timers."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

TICK_S = 0.001
"""uvloop's timers count whole milliseconds."""


class TimerHandle(Protocol):
    """What `Timers.call_at` returns."""

    def cancel(self) -> None:
        """The call will not be made; after it was made this does nothing."""


class Timers(Protocol):
    """The one source of time and of later calls. Tests drive a virtual one."""

    def now(self) -> float:
        """Seconds on a monotonic clock, the one that deadlines are on."""

    def call_soon(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run ``fn`` when the current turn of the loop is over."""

    def call_at(self, when_s: float, fn: Callable[..., Any], *args: Any) -> TimerHandle:
        """Run ``fn`` once, about at ``when_s``: at most a tick before, and as soon after it as the loop is free."""


class LoopTimers:
    """`Timers` on an asyncio loop.

    ``now`` is the clock itself and not ``loop.time()``: uvloop's is cached and counts whole milliseconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop = loop
        self.now = clock
        self.call_soon = loop.call_soon

    def call_at(self, when_s: float, fn: Callable[..., Any], *args: Any) -> TimerHandle:
        """See `Timers.call_at`. Half a tick is added: uvloop rounds to the nearest one, which may be too early."""
        return self._loop.call_later(max(0.0, when_s - self.now()) + TICK_S / 2, fn, *args)


class Alarm:
    """One timer for many due times: it is set to the earliest and, when it rings, its owner looks for what is next.

    Setting it is one comparison in the common case, so that no query needs a timer of its own. It may ring early or for
    something that is gone by then; the owner looks at the clock.
    """

    __slots__ = ("_handle", "_ring", "_timers", "due_s")

    def __init__(self, timers: Timers, ring: Callable[[], None]) -> None:
        self._timers = timers
        self._ring = ring
        self._handle: TimerHandle | None = None
        self.due_s = math.inf

    @property
    def armed(self) -> bool:
        """Whether a timer is set."""
        return self._handle is not None

    def at_latest(self, when_s: float) -> None:
        """Ring at ``when_s`` unless it rings before that anyway."""
        if when_s < self.due_s:
            if self._handle is not None:
                self._handle.cancel()
            self.due_s = when_s
            self._handle = self._timers.call_at(when_s, self._fire)

    def cancel(self) -> None:
        """Do not ring until it is set again."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        self.due_s = math.inf

    def _fire(self) -> None:
        self._handle = None
        self.due_s = math.inf
        self._ring()
