"""Moves flights from the queue to the replicas and their outputs back to the calls."""

from collections.abc import Sequence

from clipper.abstraction.admission import Forecast
from clipper.abstraction.arrivals import ArrivalRate
from clipper.abstraction.batching import Plan, hold_until
from clipper.abstraction.deadline_queue import DeadlineQueue, ShapeQueue
from clipper.abstraction.expiry import Expiry
from clipper.abstraction.flight import Batch
from clipper.abstraction.pool import ReplicaPool, next_slot
from clipper.abstraction.replica import ReplicaSlot
from clipper.abstraction.timers import Alarm, Timers

MAX_BATCH_BYTES = 64 << 20
"""Of all rows of a batch, so that it fits into a frame of the container protocol. A single row may be larger."""


class Dispatcher:
    """Gives a free replica its next batch at once.

    Arrivals of one turn of the loop are dispatched together, when it is over. ``watching`` tells them whether one more
    arrival can change anything before the next event.
    """

    def __init__(
        self,
        timers: Timers,
        queue: DeadlineQueue,
        pool: ReplicaPool,
        expiry: Expiry,
        forecast: Forecast,
        delay_s: float,
    ) -> None:
        self.arrivals = ArrivalRate()
        self.watching = True
        self.wake = Alarm(timers, self.dispatch)
        self._timers = timers
        self._now = timers.now
        self._queue = queue
        self._pool = pool
        self._expiry = expiry
        self._forecast = forecast
        self.delay_s = delay_s
        self._open_from_s = 0.0
        self._outdated = False
        self._next_batch_id = 1

    def arrived(self, now_s: float) -> None:
        """Something was queued: look at the end of this turn of the loop, or when a replica takes its next batch."""
        self.watching = False
        if self._open_from_s <= now_s:
            self._timers.call_soon(self.dispatch)
        else:
            self.wake.at_latest(self._open_from_s)

    def replied(self) -> None:
        """A replica has answered, and nothing else has changed.

        With nothing queued, what is ahead is looked at when something comes: at the end of that turn of the loop.
        """
        if self._queue.length or self._expiry.alarm.due_s <= self._now():
            self.dispatch()
        else:
            self._open_from_s = 0.0
            self._outdated = self.watching = True

    def look_ahead(self) -> None:
        """Bring up to date what admission reckons with, where that was left for later."""
        if self._outdated:
            now_s = self._now()
            self._look_ahead(self._pool.in_rotation(now_s), now_s)

    def dispatch(self) -> None:
        """Hand over what can be handed over now."""
        now_s = self._now()
        if self._expiry.alarm.due_s <= now_s:
            self._expiry.run()
        slots = self._pool.in_rotation(now_s)
        while self._queue.length:
            slot = next_slot(slots, now_s)
            if slot is None or not self._feed(slot, now_s):
                break
        self._look_ahead(slots, now_s)

    def _look_ahead(self, slots: Sequence[ReplicaSlot], now_s: float) -> None:
        """When a replica takes more, and what admission is to reckon with."""
        queue, forecast = self._queue, self._forecast
        self._outdated = False
        self._open_from_s = self._pool.look_ahead(slots, now_s, forecast)
        forecast.arrivals_per_s = self.arrivals.rate(now_s)
        forecast.tight = queue.length > 0 and forecast.is_tight(now_s, queue.earliest_s())
        self.watching = True
        if queue.length and self._open_from_s > now_s:
            self.arrived(now_s)

    def _feed(self, slot: ReplicaSlot, now_s: float) -> bool:
        """Send the slot its next batch, that of the line with the earliest head; False if it is better off waiting."""
        start_s = max(now_s, slot.busy_until_s) + self._forecast.margin_s
        last_resort: tuple[ShapeQueue, Plan] | None = None
        for shape in self._queue.by_head():
            plan = slot.policy.plan(start_s, shape.deadlines_s)
            if plan.hopeless:
                last_resort = last_resort or (shape, plan)
            elif not self._held(slot, shape, plan, now_s):
                self._send(slot, shape, plan, now_s)
                return True
        if last_resort is None or slot.batches:
            return False
        self._send(slot, *last_resort, now_s)
        return True

    def _held(self, slot: ReplicaSlot, shape: ShapeQueue, plan: Plan, now_s: float) -> bool:
        """Whether the batch waits for more queries; then it is looked at again in time."""
        if not self.delay_s or self._pool.clearing:
            return False
        head = shape.flights[plan.skip]
        run_s = slot.latency.seconds(plan.size + 1) + self._forecast.margin_s
        until_s = hold_until(plan.size, slot.policy.target_size, head.arrived_s, self.delay_s, head.deadline_s, run_s)
        if until_s is None or until_s <= now_s:
            return False
        self.wake.at_latest(until_s)
        return True

    def _send(self, slot: ReplicaSlot, shape: ShapeQueue, plan: Plan, now_s: float) -> None:
        size = 1 if slot.ejection.ejected else shape.size_within_bytes(plan.skip, plan.size, MAX_BATCH_BYTES)
        flights = self._queue.take(shape, plan.skip, size)
        deadlines_s = [flight.latest_s for flight in flights]
        batch = Batch(self._next_batch_id, slot, flights, deadlines_s, now_s, flights[0].deadline_s)
        self._next_batch_id += 1
        for flight in flights:
            flight.batch = batch
            if flight.retried:
                batch.attempts = 2
        slot.send(batch, [flight.row for flight in flights])
