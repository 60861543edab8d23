"""An alarm that rings on time: event loops round their timers to whole milliseconds, which would be half the latency.

Linux has timers that a loop can wait for like for a socket (timerfd), precise to tens of microseconds. Elsewhere the
loop's own timers have to do, and the delay that they cause is measured and counted like every other.
"""

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC if sys.platform == "linux" else 0
_NS = 1_000_000_000


class Alarm(Protocol):
    """Rings once for each `set`, unless it is set anew before that."""

    def set(self, when_s: float) -> None:
        """Ring at this moment of the monotonic clock; at once if it has passed."""
        ...

    def close(self) -> None:
        """Never ring again."""
        ...


def alarm(on_ring: Callable[[], None]) -> Alarm:
    """The best alarm that this machine has, on the running loop."""
    return _TimerFd(on_ring) if sys.platform == "linux" else _LoopTimer(on_ring)


class _Spec(ctypes.Structure):
    """``struct itimerspec``: interval, then value; each seconds and nanoseconds."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns"))


class _TimerFd:
    def __init__(self, on_ring: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._spec = _Spec()
        self._by_reference = ctypes.byref(self._spec)
        self._on_ring = on_ring
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        asyncio.get_running_loop().add_reader(self._fd, self._ring)

    def set(self, when_s: float) -> None:
        # A moment of 0 would switch the timer off.
        self._spec.value_s, self._spec.value_ns = divmod(max(1, int(when_s * _NS)), _NS)
        self._settime(self._fd, _ABSOLUTE, self._by_reference, None)

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # it was set anew after it rang
            return
        self._on_ring()

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


class _LoopTimer:
    def __init__(self, on_ring: Callable[[], None]) -> None:
        self._on_ring = on_ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, when_s: float) -> None:
        self.close()
        delay_s = max(0.0, when_s - time.monotonic())
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._on_ring)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
