"""One replica as the dispatcher sees it: its link, its state, what it executes and how fast it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from clipper.abstraction.batching import BatchingPolicy, LatencyModel
from clipper.abstraction.ejection import Ejection
from clipper.abstraction.flight import Batch
from clipper.rpc.contract import BatchReply, Link

BATCHES_IN_FLIGHT = 2
"""The second one only hides the transfer."""
LEAD_S = 0.002
"""How long before the predicted end of a batch the next one is handed over."""
STALLED_AFTER_S = 5.0
STALLED_AFTER_RUNS = 10.0
"""Silence with work outstanding is busy until the larger of both: a C call that holds the GIL answers no heartbeat."""


class SlotOwner(Protocol):
    """Whom a slot tells what happened at its replica."""

    def slot_ready(self, slot: ReplicaSlot) -> None:
        """It can take work from now on."""

    def slot_replied(self, slot: ReplicaSlot, batch_id: int, reply: BatchReply) -> None:
        """A batch came back."""

    def slot_refused(self, slot: ReplicaSlot, batch_id: int) -> None:
        """A batch came back untouched."""

    def slot_stopped(self, slot: ReplicaSlot) -> None:
        """It takes no more work; what it has it still answers."""

    def slot_lost(self, slot: ReplicaSlot, batches: Sequence[Batch], reason: str) -> None:
        """It is gone, and these batches with it."""

    def slot_abandoned(self, batches: Sequence[Batch]) -> None:
        """It has left, and nobody waits for what it executes. Must run no callback of any call."""


class ReplicaSlot:
    """A place in the pool, and the receiver of its link's events.

    ``busy_until_s`` is when everything handed over is predicted to be answered; ``heard_s`` when it last answered;
    ``open_from_s`` from when on it takes a batch (0 when idle, infinity when it has as many as it takes); at
    ``stalls_at_s`` its silence is too long. They change with each batch and are read far more often.
    """

    def __init__(
        self, replica_id: str, address: str, policy: BatchingPolicy, latency: LatencyModel, owner: SlotOwner
    ) -> None:
        self.replica_id = replica_id
        self.address = address
        self.policy = policy
        self.latency = latency
        self.ejection = Ejection()
        self.batches: dict[int, Batch] = {}
        self.busy_until_s = 0.0
        self.sent_s = 0.0
        self.heard_s = 0.0
        self.open_from_s = 0.0
        self.stalls_at_s = math.inf
        self.full_batch_s = 0.0
        self.state = "connecting"
        self.detail: str | None = None
        self.was_ready = False
        self.lost_s = math.inf
        self.link: Link
        self._owner = owner
        self._patience_s = STALLED_AFTER_S

    @property
    def ready(self) -> bool:
        """Connected, loaded, warm and not about to stop."""
        return self.state == "ready"

    def send(self, batch: Batch, rows: list[bytes]) -> None:
        """Hand over a batch. It is on the books before the link has it."""
        self.batches[batch.batch_id] = batch
        self.sent_s = batch.sent_s
        self.busy_until_s = max(batch.sent_s, self.busy_until_s) + self.latency.seconds(len(rows))
        if len(self.batches) == 1:
            self.stalls_at_s = batch.sent_s + self._patience_s
            self.open_from_s = self._open_behind(batch)
        else:
            self.open_from_s = math.inf
        self.link.send(batch.batch_id, rows, batch.deadlines_s)

    def finished(self, batch_id: int, now_s: float, *, learn_size: int) -> Batch | None:
        """Take an answered batch off the books; None if it is not on them.

        ``learn_size`` is the number of its rows that really ran, 0 if its time says nothing.

        What counts is the replica's time: from the hand-over, or from the batch before it if that was later.
        """
        batch = self.batches.pop(batch_id, None)
        if batch is not None and learn_size:
            self._observe(learn_size, now_s - max(batch.sent_s, self.heard_s))
            self.plan_ahead()
        self.heard_s = self.busy_until_s = now_s
        self.open_from_s = 0.0
        self.stalls_at_s = math.inf
        for later in self.batches.values():
            self.busy_until_s += self.latency.seconds(len(later.flights))
            self.open_from_s = self._open_behind(later)
            self.stalls_at_s = now_s + self._patience_s
        return batch

    def _open_behind(self, batch: Batch) -> float:
        """From when on it takes one more batch behind this one: shortly before its end.

        Not before its reply if that decides about the replica, or is the first sample of such a size: how long it runs
        is not known then, and what comes next had better be planned with that sample.
        """
        if self.ejection.ejected or not self.latency.covers(len(batch.flights)):
            return math.inf
        return self.busy_until_s - LEAD_S

    def free_s(self, now_s: float) -> float:
        """When it will have answered what it has. Whatever is overdue is taken to need as long again."""
        return max(self.busy_until_s, 2 * now_s - self.busy_until_s)

    def plan_ahead(self) -> None:
        """Bring up to date what follows from the latency model and from the policy."""
        self.full_batch_s = self.latency.seconds(self.policy.expected_size)
        self._patience_s = max(STALLED_AFTER_S, STALLED_AFTER_RUNS * self.latency.slowest_s)

    def take_batches(self) -> list[Batch]:
        """Everything outstanding, off the books."""
        batches = list(self.batches.values())
        self.batches.clear()
        self.busy_until_s = self.heard_s = self.open_from_s = 0.0
        self.stalls_at_s = math.inf
        return batches

    def waited_for(self) -> bool:
        """Whether anybody still waits for something that it executes."""
        return any(flight.calls for batch in self.batches.values() for flight in batch.flights)

    def reject(self, sentence: str) -> None:
        """What is behind the address is not what should be there."""
        self.state, self.detail = "failed", sentence
        self.link.close()

    def abandon(self) -> None:
        """Nobody waits for what it executes, and it is leaving."""
        self._owner.slot_abandoned(self.take_batches())

    def describe(self, now_s: float) -> dict[str, Any]:
        """For people."""
        state = self.state
        if self.ready and now_s >= self.stalls_at_s:
            state = "stalled"
        elif self.ready and self.ejection.ejected:
            state = "ejected"
        return {
            "replica": self.replica_id,
            "address": self.address,
            "state": state,
            "detail": self.detail,
            "in_flight": [len(batch.flights) for batch in self.batches.values()],
            "batching": self.policy.describe(),
            "latency": self.latency.describe(),
        }

    def on_ready(self, link: Link, /) -> None:
        """See `LinkEvents`."""
        if self.state == "ready":
            return
        for size, seconds in link.hello.warmup if link.hello is not None else ():
            self._observe(size, seconds)
        self.plan_ahead()
        self.state, self.detail, self.was_ready, self.lost_s = "ready", None, True, math.inf
        self._owner.slot_ready(self)

    def on_reply(self, _link: Link, batch_id: int, reply: BatchReply, /) -> None:
        """See `LinkEvents`."""
        self._owner.slot_replied(self, batch_id, reply)

    def on_refused(self, _link: Link, batch_id: int, reason: str, /) -> None:
        """See `LinkEvents`."""
        self.state, self.detail = "draining", reason
        self._owner.slot_refused(self, batch_id)

    def on_draining(self, _link: Link, /) -> None:
        """See `LinkEvents`."""
        self._stop("draining", "it is shutting down")

    def on_progress(self, _link: Link, state: str, detail: str, /) -> None:
        """See `LinkEvents`."""
        self._stop(state, detail or None)

    def on_lost(self, _link: Link, reason: str, /) -> None:
        """See `LinkEvents`."""
        self.state, self.detail = "lost", reason
        self._owner.slot_lost(self, self.take_batches(), reason)

    def _observe(self, size: int, seconds: float) -> None:
        self.latency.observe(size, seconds)
        self.policy.observe(size, seconds)

    def _stop(self, state: str, detail: str | None) -> None:
        self.state, self.detail = state, detail
        self._owner.slot_stopped(self)
