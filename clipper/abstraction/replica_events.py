"""What happens at the replicas, and what follows for the queries they had."""

from collections.abc import Callable, Sequence

from clipper.abstraction.call import Call
from clipper.abstraction.dispatcher import Dispatcher
from clipper.abstraction.flight import Batch
from clipper.abstraction.landing import Landing, was_dropped
from clipper.abstraction.pool import ReplicaPool
from clipper.abstraction.replica import ReplicaSlot
from clipper.metrics import VersionMetrics
from clipper.rpc.contract import BatchReply


class ReplicaEvents:
    """A `SlotOwner`. ``pool_changed`` is called when a replica came or went."""

    def __init__(
        self,
        pool: ReplicaPool,
        dispatcher: Dispatcher,
        landing: Landing,
        metrics: VersionMetrics,
        now: Callable[[], float],
        pool_changed: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._dispatcher = dispatcher
        self._landing = landing
        self._metrics = metrics
        self._now = now
        self._pool_changed = pool_changed

    def slot_ready(self, slot: ReplicaSlot) -> None:
        """It starts with what waits, unless it is not what should be behind its address."""
        wrong = self._pool.check(slot)
        if wrong is not None:
            slot.reject(wrong)
        self._pool_changed()

    def slot_replied(self, slot: ReplicaSlot, batch_id: int, reply: BatchReply) -> None:
        """The replica gets its next batch before the calls of this one are answered, so that it need not wait."""
        now_s = self._now()
        errors = [output for output in reply.outputs if type(output) is not bytes]
        executed = len(reply.outputs) - (sum(map(was_dropped, errors)) if errors else 0)
        answered = len(errors) < len(reply.outputs)
        batch = slot.finished(batch_id, now_s, learn_size=executed if answered else 0)
        if batch is None:
            return
        flights = batch.take_flights()
        over = self._landing.run_again(batch, flights, reply, now_s) if errors else ()
        if answered and not slot.ejection.failures:
            self._dispatcher.replied()
        else:
            self._judge(slot, answered=answered, executed=executed > 0, now_s=now_s)
            self._dispatcher.dispatch()
        self._landing.replied(batch, flights, reply, now_s)
        self._landing.fail_late(over)
        if self._pool.leaving:
            self._pool.close_answered()

    def slot_refused(self, slot: ReplicaSlot, batch_id: int) -> None:
        """Nothing was executed: its queries wait again, which does not count as a retry."""
        batch = slot.finished(batch_id, self._now(), learn_size=0)
        over = self._landing.refused(batch.take_flights()) if batch is not None else ()
        self._pool_changed()
        self._landing.fail_late(over)

    def slot_stopped(self, slot: ReplicaSlot) -> None:  # noqa: ARG002  the protocol has it
        """It gets nothing new."""
        self._pool_changed()

    def slot_lost(self, slot: ReplicaSlot, batches: Sequence[Batch], reason: str) -> None:
        """Its queries are run once more elsewhere, or on itself when it is back, as far as their deadlines allow."""
        now_s = self._now()
        slot.lost_s = min(slot.lost_s, now_s)
        if batches:
            self._failed(slot, now_s)
        failed: list[Call] = []
        for batch in batches:
            failed += self._landing.lost(batch, now_s)
        self._pool_changed()
        self._landing.fail(
            failed, f"The connection to replica {slot.replica_id} was lost while it ran this query: {reason}"
        )

    def slot_abandoned(self, batches: Sequence[Batch]) -> None:
        """Nobody can join its flights any more."""
        for batch in batches:
            self._landing.give_up(batch.take_flights())

    def _judge(self, slot: ReplicaSlot, *, answered: bool, executed: bool, now_s: float) -> None:
        if answered:
            slot.ejection.success()
        elif executed:
            self._failed(slot, now_s)

    def _failed(self, slot: ReplicaSlot, now_s: float) -> None:
        if slot.ejection.failure(now_s, is_last=self._pool.is_last(slot)):
            self._metrics.ejections += 1
