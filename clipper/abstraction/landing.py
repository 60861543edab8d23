"""What comes back from the replicas: outputs, item errors, refused batches, lost connections."""

import math
from collections.abc import Sequence

from clipper.abstraction.cache import CacheScope, PredictionCache
from clipper.abstraction.call import Call, Trace
from clipper.abstraction.deadline_queue import DeadlineQueue
from clipper.abstraction.flight import Batch, Flight
from clipper.abstraction.retry_budget import RetryBudget
from clipper.abstraction.settle import deliver, fail
from clipper.errors import DeadlineExceeded, ModelError
from clipper.metrics import VersionMetrics
from clipper.rpc.contract import BatchReply, ItemError


def was_dropped(output: bytes | ItemError) -> bool:
    """Whether the replica did not execute the row because it was too late for it."""
    return isinstance(output, ItemError) and output.code == DeadlineExceeded.code


class Landing:
    """Ends flights. What is still wanted and was not executed goes back to its place in the queue."""

    def __init__(
        self,
        name: str,
        queue: DeadlineQueue,
        flights: dict[bytes, Flight],
        cache: PredictionCache,
        scope: CacheScope,
        ttl_s: float | None,
        metrics: VersionMetrics,
    ) -> None:
        self._name = name
        self._queue = queue
        self._flights = flights
        self._cache = cache
        self.scope = scope
        self.keep_for(ttl_s)
        self._metrics = metrics
        self._budget = RetryBudget()
        self._times_answers = False

    def keep_for(self, ttl_s: float | None) -> None:
        """Outputs stay in the cache for ``ttl_s`` from now on; None: until there is no room."""
        self._ttl_s = math.inf if ttl_s is None else ttl_s

    def time_answers(self, wanted: bool) -> None:
        """Measure how long each output takes from the arrival of its query, or no longer; it costs a little."""
        self._times_answers = wanted

    def run_again(self, batch: Batch, flights: Sequence[Flight], reply: BatchReply, now_s: float) -> list[Call]:
        """Queue what the replica dropped as too late, if somebody with more time has joined since it was sent.

        Returns calls that nothing is executed again for; they are to be failed. It comes before `replied`, whose
        callbacks may close the version: then nothing must be queued any more.
        """
        over: list[Call] = []
        for flight, output, sent_deadline_s in zip(flights, reply.outputs, batch.deadlines_s, strict=True):
            if was_dropped(output) and flight.latest_s > max(sent_deadline_s, now_s):
                over += self._requeue(flight)
        return over

    def replied(self, batch: Batch, flights: Sequence[Flight], reply: BatchReply, now_s: float) -> None:
        """Deliver and keep the outputs of a batch; deliver the errors of its items."""
        trace = Trace(len(flights), batch.slot.replica_id, batch.sent_s, reply.run_s, reply.wait_s, batch.attempts)
        self._count(batch, flights, reply, now_s)
        table, scope, put = self._flights, self.scope, self._cache.put
        expires_s = now_s + self._ttl_s
        for flight, output in zip(flights, reply.outputs, strict=True):
            if flight.batch is not batch:
                continue  # It runs again.
            if not isinstance(output, bytes):
                self._item_failed(flight, output, trace)
                continue
            if flight.key is not None:
                table.pop(flight.key, None)  # Gone if a callback of this batch has closed the version.
                put(scope, flight.key, flight.row, output, expires_s)
            deliver(flight, output, trace)

    def refused(self, flights: Sequence[Flight]) -> list[Call]:
        """Nothing was executed: everything that is still wanted waits again, at the place of its deadline.

        Returns the calls that do not, which are to be failed.
        """
        return [call for flight in flights for call in self._requeue(flight)]

    def lost(self, batch: Batch, now_s: float) -> list[Call]:
        """Queue for the one retry what still has time; returns the calls of the rest, which are to be failed."""
        failed: list[Call] = []
        for flight in batch.take_flights():
            if flight.retried or flight.latest_s <= now_s or (flight.calls and not self._budget.spend()):
                failed += self.give_up([flight])
                continue
            self._metrics.retries += bool(flight.calls)
            flight.retried = True
            failed += self._requeue(flight)
        return failed

    def give_up(self, flights: Sequence[Flight]) -> list[Call]:
        """End flights without an output; returns their calls, which are to be failed."""
        for flight in flights:
            self._forget(flight)
        return [call for flight in flights for call in flight.take_calls()]

    def fail(self, calls: Sequence[Call], sentence: str) -> None:
        """Answer calls that nothing can be done for any more."""
        fail(calls, lambda _: ModelError(sentence), self._metrics.failures)

    def fail_late(self, calls: Sequence[Call]) -> None:
        """Answer calls whose time had passed when their execution came to nothing."""
        fail(calls, lambda _: DeadlineExceeded(f"{self._name} was late."), self._metrics.failures)

    def _item_failed(self, flight: Flight, error: ItemError, trace: Trace) -> None:
        kind = DeadlineExceeded if was_dropped(error) else ModelError
        fail(self.give_up([flight]), lambda _: kind(f"{self._name}: {error.message}"), self._metrics.failures, trace)

    def _requeue(self, flight: Flight) -> list[Call]:
        over = flight.take_lingering()
        flight.batch = None
        if flight.calls:
            self._queue.push(flight)
        else:
            self._forget(flight)
        return over

    def _forget(self, flight: Flight) -> None:
        if flight.key is not None:
            self._flights.pop(flight.key, None)

    def _count(self, batch: Batch, flights: Sequence[Flight], reply: BatchReply, now_s: float) -> None:
        metrics = self._metrics
        metrics.batch_size.observe(len(flights))
        metrics.model_s.observe(reply.run_s)
        metrics.queue_s.observe_all([batch.sent_s - flight.arrived_s for flight in flights])
        if self._times_answers:
            metrics.answer_s.observe_all([now_s - flight.arrived_s for flight in flights])
        self._budget.earn(len(flights))
