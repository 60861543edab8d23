"""What must go on at a given time if nothing has ended its wait before."""

import heapq
import itertools
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from clipper.abstraction.timers import Alarm, Timers

_FEWEST_TO_COMPACT: Final = 64


class Waiting(Protocol):
    """Something with an end to its wait. ``waiting`` turns false once, at whatever ends it."""

    waiting: bool


W = TypeVar("W", bound=Waiting)


class DueQueue(Generic[W]):
    """One timer for all that wait. What does not wait any more costs nothing until it is met, or is swept out.

    Args:
        timers: Clock and timers.
        on_due: Called with each item that still waits at its time.
    """

    def __init__(self, timers: Timers, on_due: Callable[[W], None]) -> None:
        self._now = timers.now
        self._on_due = on_due
        self._alarm = Alarm(timers, self._ring)
        self._heap: list[tuple[float, int, W]] = []
        self._numbers = itertools.count()
        self._compact_at = _FEWEST_TO_COMPACT

    def __len__(self) -> int:
        """How many items are remembered, those included that do not wait any more."""
        return len(self._heap)

    def push(self, due_s: float, item: W) -> None:
        """Let ``item`` wait until then at most."""
        heapq.heappush(self._heap, (due_s, next(self._numbers), item))
        if due_s < self._alarm.due_s:
            self._alarm.at_latest(due_s)
        if len(self._heap) > self._compact_at:
            self._compact()

    def close(self) -> None:
        """Let nothing become due any more."""
        self._heap.clear()
        self._alarm.cancel()

    def _ring(self) -> None:
        now_s = self._now()
        heap = self._heap
        while heap and (heap[0][0] <= now_s or not heap[0][2].waiting):
            _, _, item = heapq.heappop(heap)
            if item.waiting:
                self._on_due(item)
        if heap:
            self._alarm.at_latest(heap[0][0])

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].waiting]
        heapq.heapify(self._heap)
        self._compact_at = max(_FEWEST_TO_COMPACT, 2 * len(self._heap))
