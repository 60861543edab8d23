"""Calls whose deadline passes are answered at it, wherever they are, without a timer for each."""

import math
from collections import Counter
from collections.abc import Callable

from clipper.abstraction.call import Call
from clipper.abstraction.deadline_queue import DeadlineQueue
from clipper.abstraction.flight import Batch, Flight
from clipper.abstraction.pool import ReplicaPool
from clipper.abstraction.settle import fail
from clipper.abstraction.timers import Alarm, Timers
from clipper.errors import ClipperError


class Expiry:
    """One alarm at the earliest deadline of everything queued and executing.

    ``alarm`` never rings later than that. It is set by arrivals only: everything else takes deadlines away, which costs
    nothing until it rings and looks for the next one.
    """

    def __init__(
        self,
        timers: Timers,
        queue: DeadlineQueue,
        flights: dict[bytes, Flight],
        pool: ReplicaPool,
        error_for: Callable[[Call], ClipperError],
        failures: Counter[str],
    ) -> None:
        self.alarm = Alarm(timers, self.run)
        self._now = timers.now
        self._queue = queue
        self._flights = flights
        self._pool = pool
        self._error_for = error_for
        self._failures = failures

    def run(self) -> None:
        """Answer every call that is due now."""
        now_s = self._now()
        self.alarm.cancel()
        late: list[Call] = []
        for flight in self._queue.take_due(now_s):
            late += flight.take_expired(now_s)
            if flight.calls:
                self._queue.push(flight)
            elif flight.key is not None:
                del self._flights[flight.key]
        for batch in self._pool.batches():
            if batch.earliest_s <= now_s:
                late += self._expire_executing(batch, now_s)
        earliest_s = min((batch.earliest_s for batch in self._pool.batches()), default=math.inf)
        self.alarm.at_latest(min(earliest_s, self._queue.earliest_s()))
        if not (self._queue.length and self._pool.clearing):  # else those that leave are needed once more
            self._pool.close_answered()
        fail(late, self._error_for, self._failures)

    def _expire_executing(self, batch: Batch, now_s: float) -> list[Call]:
        """The flight goes on without them: its result still fills the cache, and others may have joined it."""
        late: list[Call] = []
        earliest_s = math.inf
        for flight in batch.flights:
            if flight.deadline_s <= now_s:
                late += flight.take_expired(now_s)
            if flight.calls:
                earliest_s = min(earliest_s, flight.deadline_s)
        batch.earliest_s = earliest_s
        return late
