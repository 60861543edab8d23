"""One model version as a frontend serves it: cache, admission, queue, batches, replicas.

A call's way: the cache, or a flight that is already under way, else admission, the queue, a batch, a replica.
Nothing here waits or blocks; everything is a callback on the one event loop.
"""

from collections.abc import Callable, Mapping
from typing import Any

from clipper.abstraction.admission import Forecast
from clipper.abstraction.cache import LONGEST_KEY_BYTES, PredictionCache
from clipper.abstraction.call import Call
from clipper.abstraction.deadline_queue import DeadlineQueue
from clipper.abstraction.dispatcher import Dispatcher
from clipper.abstraction.expiry import Expiry
from clipper.abstraction.flight import Flight
from clipper.abstraction.landing import Landing
from clipper.abstraction.pool import Dial, ReplicaPool
from clipper.abstraction.replica_events import ReplicaEvents
from clipper.abstraction.settle import fail
from clipper.abstraction.timers import Timers
from clipper.domain import Version
from clipper.errors import ClipperError, DeadlineExceeded, NoModelReady, Overloaded
from clipper.metrics import VersionMetrics

MIN_RETRY_AFTER_S = 0.001
NOT_READY_RETRY_AFTER_S = 1.0
MAX_MARGIN_SHARE = 0.1
"""Of the SLO."""
MAX_HANG_SHARE = 0.5
"""Of the time after which a replica with an unanswered batch is taken for hung; full batches take about half of it."""


def _nothing() -> None:
    """The hook that nobody has set."""


class ServedVersion:
    """Answers calls for one version.

    Without a ready replica it answers `NoModelReady` at once, unless one that was ready before is expected back: then
    calls wait in the queue for as long as their deadlines allow.

    ``has_ready_replica`` changes before ``on_ready_changed`` is called. ``input_width`` is the number of values in a
    row, where the manifest or a replica says it. See `ReplicaPool.capacity`, `Landing.time_answers`.
    """

    def __init__(
        self,
        version: Version,
        *,
        cache: PredictionCache,
        timers: Timers,
        dial: Dial,
        metrics: VersionMetrics,
        margin_s: float,
        max_queue_length: int,
        slo_s: float,
    ) -> None:
        spec = version.spec
        self.name = f"{version.model}:{spec.version}"
        self.version, self.outputs = spec.version, spec.outputs
        self.has_ready_replica = False
        self.input_width: int | None = version.manifest.get("input_width")
        self.on_ready_changed: Callable[[], None] = _nothing
        self._now = timers.now
        self._metrics = metrics
        self._reply_margin_s = margin_s
        self._slo_s = slo_s
        self._max_queue_length = max_queue_length
        self._spec = spec
        self._caching = spec.caching.enabled
        self._cache = cache
        self._scope = cache.scope((version.model, spec.version, version.generation), metrics)
        self._flights: dict[bytes, Flight] = {}
        self._queue = DeadlineQueue(by_width=spec.has_rows_by_width)
        self._forecast = Forecast(self._margin_s, max_queue_length)
        self._pool = ReplicaPool(version, dial, self._budget_s)
        self._expiry = Expiry(timers, self._queue, self._flights, self._pool, self._too_late, metrics.failures)
        self._dispatcher = Dispatcher(
            timers, self._queue, self._pool, self._expiry, self._forecast, spec.batching.delay_ms / 1e3
        )
        self._landing = Landing(self.name, self._queue, self._flights, cache, self._scope, spec.caching.ttl_s, metrics)
        self.capacity, self.time_answers = self._pool.capacity, self._landing.time_answers
        self._events = ReplicaEvents(
            self._pool, self._dispatcher, self._landing, metrics, timers.now, self._pool_changed
        )
        self._closed: ClipperError | None = None

    @property
    def slo_s(self) -> float:
        """The tightest SLO of the applications that use this version."""
        return self._slo_s

    @slo_s.setter
    def slo_s(self, slo_s: float) -> None:
        self._slo_s = slo_s
        self._forecast.margin_s = self._margin_s
        self._pool.set_budget(self._budget_s)
        self._dispatcher.dispatch()

    @property
    def _margin_s(self) -> float:
        """Kept below the SLO for the reply; a small part of a short SLO too, so that there is time for a model."""
        return min(self._reply_margin_s, self._slo_s * MAX_MARGIN_SHARE)

    @property
    def _budget_s(self) -> float:
        """What batches are made for. However long the SLO, none may run until its replica is taken for hung."""
        return min(self._slo_s - self._margin_s, self._spec.limits.hang_timeout_s * MAX_HANG_SHARE)

    def submit(self, call: Call) -> None:
        """Answer the call once through ``call.on_result``, maybe before this returns, unless it is cancelled."""
        dispatcher = self._dispatcher
        dispatcher.arrivals.count += 1
        now_s = call.submitted_s
        row = call.row
        key: bytes | None = None
        if self._caching:
            scope = self._scope
            key = row if len(row) <= LONGEST_KEY_BYTES else scope.key_of(row)
            output = self._cache.get(scope, key, row, now_s)
            if output is not None:
                self._metrics.cache_hits += 1
                call.cached = True
                call.output = output
                call.on_result(call)
                return
            flight = self._flights.get(key)
            if flight is None:
                self._metrics.cache_misses += 1
            elif flight.row != row:
                key = None  # Two rows with one digest: the second one is neither kept nor joined.
            elif flight.is_stuck(now_s):
                self._detach(key, flight)
            else:
                self._join(flight, call)
                return
        else:
            self._metrics.uncached += 1
        deadline_s = call.deadline_s
        sure = self._forecast.surely_on_time(now_s, deadline_s, self._queue.length)
        error = None if sure else self._refusal(call, now_s)
        if error is not None:
            self._refuse(call, error)
            return
        flight = Flight(key, row, [call], deadline_s, deadline_s, now_s)
        call.flight = flight
        if key is not None:
            self._flights[key] = flight
        self._queue.push(flight)
        if deadline_s < self._expiry.alarm.due_s:
            self._expiry.alarm.at_latest(deadline_s)
        if dispatcher.watching:
            dispatcher.arrived(now_s)

    def cancel(self, call: Call) -> None:
        """Forget the call: its ``on_result`` will not run. Whoever shares its flight or its batch notices nothing.

        A call that was resolved already is left as it is. An execution under way goes on and may fill the cache.
        """
        flight, call.flight = call.flight, None
        if flight is None or flight.done:
            return
        earliest_s = flight.leave(call)
        if flight.batch is not None:
            flight.deadline_s = earliest_s
        elif earliest_s != flight.deadline_s:
            self._queue.remove(flight)
            flight.deadline_s = earliest_s
            if flight.calls:
                self._queue.push(flight)
            elif flight.key is not None:
                del self._flights[flight.key]

    def set_replicas(self, addresses: Mapping[str, str]) -> None:
        """Serve from exactly these replicas (id -> address). Those that vanish answer what they have, then go."""
        if self._closed is None:
            self._pool.set_addresses(addresses, self._events)
            self._pool_changed()

    def configure(self, version: Version) -> None:
        """Batch and cache as ``version`` says from now on; what is under way goes on as it is.

        Only where caching is configured anew, what was kept is forgotten: it knows nothing of the new rules.
        """
        before, self._spec = self._spec, version.spec
        spec = version.spec
        if spec.caching != before.caching:
            self._scope = self._landing.scope = self._cache.renewed(self._scope)
        self._caching = spec.caching.enabled
        self._landing.keep_for(spec.caching.ttl_s)
        self._dispatcher.delay_s = spec.batching.delay_ms / 1e3
        self._pool.configure(version)
        self._pool.set_budget(self._budget_s)
        self._dispatcher.dispatch()

    def unanswered_s(self) -> dict[str, float]:
        """For each replica with work outstanding: the seconds since it was given it, or last answered."""
        return self._pool.unanswered_s(self._now())

    def close(self, error: ClipperError) -> None:
        """Answer all that waits, and later calls too, with ``error``; end all links. Nothing is left afterwards."""
        if self._closed is not None:
            return
        self._closed = error
        flights = self._queue.take_all()
        for batch in self._pool.batches():
            flights += batch.take_flights()
        calls = self._landing.give_up(flights)
        self._pool.close()
        self._cache.release(self._scope)
        self._expiry.alarm.cancel()
        self._dispatcher.dispatch()
        self._dispatcher.wake.cancel()
        fail(calls, lambda _: error, self._metrics.failures)
        self._tell_readiness()

    def describe(self) -> dict[str, Any]:
        """The version's present state for people: replicas, queue, what its batching policies have found out."""
        now_s = self._now()
        forecast = self._forecast
        return {
            "version": self.name,
            "ready": self.has_ready_replica,
            "queued": self._queue.length,
            "in_flight": sum(len(batch.flights) for batch in self._pool.batches()),
            "slo_ms": self._slo_s * 1e3,
            "arrivals_per_s": round(self._dispatcher.arrivals.rate(now_s), 1),
            "full_batch": {"queries": forecast.batch_size, "ms": round(forecast.batch_s * 1e3, 3)},
            "replicas": self._pool.describe(now_s),
        }

    def leaks(self) -> dict[str, int]:
        """What is held for calls right now; all zero when idle. After `close`, the timers and links too.

        An open version may keep one expiry alarm set past the last call; it finds nothing and is gone.
        """
        closed = self._closed is not None
        armed = (self._expiry.alarm.armed, self._dispatcher.wake.armed)
        return {
            "queued": self._queue.length,
            "shapes": len(self._queue.shapes),
            "flights": len(self._flights),
            "batches": sum(1 for _ in self._pool.batches()),
            "leaving_replicas": len(self._pool.leaving),
            "timers": sum(armed) if closed else 0,
            "links": len(self._pool.slots) if closed else 0,
        }

    # --- admission ------------------------------------------------------------------------------------------------

    def _refusal(self, call: Call, now_s: float) -> ClipperError | None:
        """Why this call cannot wait for a batch; None if it can."""
        if self._closed is not None:
            return self._closed
        if call.deadline_s <= now_s:
            return self._too_late(call)
        if not self.has_ready_replica and not self._pool.coming_back(now_s):
            return self._not_ready()
        self._dispatcher.look_ahead()
        queue, forecast = self._queue, self._forecast
        if queue.length >= self._max_queue_length:
            return Overloaded(
                f"{self.name} has {queue.length} queries waiting, its limit.",
                retry_after_s=max(MIN_RETRY_AFTER_S, forecast.drain_s(queue.length)),
            )
        return self._lateness(call, now_s)

    def _lateness(self, call: Call, now_s: float) -> ClipperError | None:
        """Refuse a call that would be late in the queue as it stands, or would make another one late."""
        queue, forecast = self._queue, self._forecast
        if queue.length < forecast.idle:
            return None  # An idle replica accepts whatever its latency model says: there is always a new sample.
        shape = queue.shape_of(call.row)
        index, deadlines_s = (0, ()) if shape is None else (shape.index_for(call.deadline_s), shape.deadlines_s)
        other_lines_s = (len(queue.shapes) - (shape is not None)) * forecast.run_s(1)
        late_s = forecast.refusal_s(now_s + other_lines_s, call.deadline_s, index, deadlines_s)
        if late_s is None:
            forecast.tight = forecast.tight or forecast.is_tight(now_s, call.deadline_s)
            return None
        return Overloaded(
            f"{self.name} is overloaded: {queue.length} queries wait, "
            f"and this answer or an earlier query's would come {late_s * 1e3:.1f} ms too late.",
            retry_after_s=max(MIN_RETRY_AFTER_S, late_s),
        )

    def _join(self, flight: Flight, call: Call) -> None:
        """Attach to the same row under way. Only pulling it forward in the queue needs admission."""
        now_s = call.submitted_s
        if call.deadline_s <= now_s:
            self._refuse(call, self._too_late(call))
            return
        queued = flight.batch is None
        if queued and call.deadline_s < flight.deadline_s:
            self._queue.remove(flight)
            error = self._lateness(call, now_s)
            if error is None:
                flight.join(call)
            self._queue.push(flight)
            if error is not None:
                self._refuse(call, error)
                return
        else:
            flight.join(call)
        call.coalesced = True
        self._metrics.cache_coalesced += 1
        self._expiry.alarm.at_latest(call.deadline_s)

    def _detach(self, key: bytes, flight: Flight) -> None:
        """Let whoever asks for the row from now on share a new flight, which another replica may run."""
        self._metrics.cache_misses += 1
        del self._flights[key]
        flight.key = None

    def _refuse(self, call: Call, error: ClipperError) -> None:
        if isinstance(error, Overloaded):
            self._metrics.refused += 1
        call.error = error
        call.on_result(call)

    def _too_late(self, call: Call) -> ClipperError:
        if not self.has_ready_replica:
            return self._not_ready()
        given_ms = (call.deadline_s - call.submitted_s) * 1e3
        return DeadlineExceeded(f"{self.name} did not answer within the {given_ms:.1f} ms that this query had.")

    def _not_ready(self) -> NoModelReady:
        return NoModelReady(
            f"No replica of {self.name} is ready ({self._pool.why_not_ready()}).", retry_after_s=NOT_READY_RETRY_AFTER_S
        )

    # --- readiness ------------------------------------------------------------------------------------------------

    def _pool_changed(self) -> None:
        """A replica came or went: hand out what waits, answer what waits in vain, tell the owner."""
        if self._closed is None and not self._pool.waiting_helps(self._now()):
            calls = self._landing.give_up(self._queue.take_all())
            fail(calls, lambda _: self._not_ready(), self._metrics.failures)
        if self.input_width is None:
            self.input_width = self._pool.input_width
        self._dispatcher.dispatch()
        self._pool.close_answered()
        self._tell_readiness()

    def _tell_readiness(self) -> None:
        ready = self._pool.ready_count > 0
        if ready != self.has_ready_replica:
            self.has_ready_replica = ready
            self.on_ready_changed()
