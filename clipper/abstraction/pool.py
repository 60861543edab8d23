"""The replicas of one version: which there are, which one gets the next batch, what they can do together."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from clipper.abstraction.admission import Forecast
from clipper.abstraction.batching import LatencyModel, make_policy
from clipper.abstraction.flight import Batch
from clipper.abstraction.replica import BATCHES_IN_FLIGHT, ReplicaSlot, SlotOwner
from clipper.domain import Version
from clipper.rpc.contract import Link, LinkEvents
from clipper.rpc.identity import mismatch

Dial = Callable[[str, str, LinkEvents], Link]
"""(address, replica_id, events) -> link, as `clipper.rpc.link.dial` with loop, clock and secret bound."""

RECONNECT_PATIENCE_S = 30.0
"""How long a replica that was ready and is lost counts as coming back, so that queries wait for it in the queue."""


def next_slot(slots: Sequence[ReplicaSlot], now_s: float) -> ReplicaSlot | None:
    """Of those in rotation, the replica that gets the next batch: the one idle for longest, else the one done first."""
    best: ReplicaSlot | None = None
    best_key = (BATCHES_IN_FLIGHT, 0.0)
    for slot in slots:
        if slot.open_from_s > now_s:
            continue
        key = (1, slot.busy_until_s) if slot.batches else (0, slot.sent_s)
        if key < best_key:
            best, best_key = slot, key
    return best


class ReplicaPool:
    """Replicas by id, and those that left the mapping and still have something to answer.

    While no other one is ready, those that leave also take what waits already: nothing new is queued for them.
    """

    def __init__(self, version: Version, dial: Dial, budget_s: float) -> None:
        self.slots: dict[str, ReplicaSlot] = {}
        self.leaving: list[ReplicaSlot] = []
        self._version = version
        self._dial = dial
        self.input_width: int | None = None
        self._budget_s = budget_s

    def set_budget(self, budget_s: float) -> None:
        """The time that a query has from arrival to answer, without the reply margin."""
        self._budget_s = budget_s
        for slot in self.slots.values():
            slot.policy.set_slo(budget_s)
            slot.plan_ahead()

    def configure(self, version: Version) -> None:
        """Batch as ``version`` says from now on, with what was learned about each replica's speed.

        Policies stay, with what they found out, if it says nothing new about batching.
        """
        changed = version.spec.batching != self._version.spec.batching
        self._version = version
        for slot in self.slots.values() if changed else ():
            slot.policy = make_policy(version.spec.batching, slot.latency, self._budget_s)
            slot.plan_ahead()

    def unanswered_s(self, now_s: float) -> dict[str, float]:
        """For each replica with work outstanding: the seconds since it was given it, or last answered."""
        return {
            slot.replica_id: now_s - max(slot.heard_s, next(iter(slot.batches.values())).sent_s)
            for slot in (*self.slots.values(), *self.leaving)
            if slot.batches
        }

    def set_addresses(self, addresses: Mapping[str, str], owner: SlotOwner) -> None:
        """Dial what is new (or has moved); what is gone leaves with `close_answered`."""
        for replica_id, slot in list(self.slots.items()):
            if addresses.get(replica_id) != slot.address:
                del self.slots[replica_id]
                self.leaving.append(slot)
        for replica_id, address in addresses.items():
            if replica_id not in self.slots:
                self._add(replica_id, address, owner)

    def _add(self, replica_id: str, address: str, owner: SlotOwner) -> None:
        latency = LatencyModel()
        policy = make_policy(self._version.spec.batching, latency, self._budget_s)
        slot = ReplicaSlot(replica_id, address, policy, latency, owner)
        self.slots[replica_id] = slot
        slot.link = self._dial(address, replica_id, slot)

    def close_answered(self) -> None:
        """Close the leaving replicas of which nobody expects anything any more."""
        for slot in [slot for slot in self.leaving if not slot.waited_for()]:
            self.leaving.remove(slot)
            slot.link.close()
            slot.abandon()

    def close(self) -> None:
        """Close every link; what was in flight gets no answer from here."""
        for slot in (*self.slots.values(), *self.leaving):
            slot.take_batches()
            slot.link.close()
        self.slots.clear()
        self.leaving.clear()

    def check(self, slot: ReplicaSlot) -> str | None:
        """None if the replica says that it serves this version, else the sentence why it gets no queries."""
        hello = slot.link.hello
        wrong = mismatch(self._version, hello, slot.address)
        if wrong is None and hello is not None and self.input_width is None:
            self.input_width = hello.input_width
        return wrong

    def why_not_ready(self) -> str:
        """What is known about the replicas, to be put behind a sentence that says that none is ready."""
        states = (f"{s.replica_id} is {s.state}" + (f": {s.detail}" if s.detail else "") for s in self.slots.values())
        return ", ".join(states) or "it has none"

    @property
    def ready_count(self) -> int:
        """Replicas that are connected and warm."""
        return sum(slot.ready for slot in self.slots.values())

    @property
    def clearing(self) -> bool:
        """Whether only replicas that leave are there for what waits."""
        return not self.ready_count and any(slot.ready for slot in self.leaving)

    def waiting_helps(self, now_s: float) -> bool:
        """Whether what waits already will come to a replica."""
        return self.ready_count > 0 or self.clearing or self.coming_back(now_s)

    def coming_back(self, now_s: float) -> bool:
        """Whether a replica that was ready is expected again, so that waiting makes sense."""
        return any(
            slot.was_ready and slot.state != "failed" and now_s - slot.lost_s < RECONNECT_PATIENCE_S
            for slot in self.slots.values()
        )

    def is_last(self, slot: ReplicaSlot) -> bool:
        """Whether no other replica is ready and in rotation."""
        return not any(s.ready and not s.ejection.ejected for s in self.slots.values() if s is not slot)

    def in_rotation(self, now_s: float) -> list[ReplicaSlot]:
        """Ready replicas that may get work. If all of them are ejected, all of them may: better bad than none."""
        ready = [slot for slot in self.slots.values() if slot.state == "ready" and now_s < slot.stalls_at_s]
        if not ready and self.clearing:
            return [slot for slot in self.leaving if slot.ready and now_s < slot.stalls_at_s]
        admitted = [slot for slot in ready if slot.ejection.until_s <= now_s]
        return admitted or ready

    def look_ahead(self, slots: Sequence[ReplicaSlot], now_s: float, forecast: Forecast) -> float:
        """Write into ``forecast`` what these replicas, those in rotation, are about to do.

        Until its first sample a replica counts where it is idle, and as no help for what has to wait.

        Returns:
            When one of them can be handed a batch, or an ejected one tried again: 0 for now, infinity for not before
            some event.
        """
        idle = expected = 0
        batch_s, open_from_s = 0.0, math.inf
        free_s: list[float] = []
        measured: list[ReplicaSlot] = []
        for slot in slots:
            open_from_s = min(open_from_s, slot.open_from_s)
            idle += not slot.batches
            if slot.latency.largest:
                measured.append(slot)
                free_s.append(slot.free_s(now_s) if slot.batches else 0.0)
                expected += slot.policy.expected_size
                batch_s = max(batch_s, slot.full_batch_s)
        forecast.idle, forecast.measured = idle, bool(measured)
        if measured:
            forecast.run_s = measured[free_s.index(min(free_s))].latency.seconds
            forecast.free_s = sorted(free_s)
            forecast.batch_size, forecast.batch_s = expected // len(measured), batch_s
        if open_from_s > now_s and len(slots) < len(self.slots):
            probes_s = (slot.ejection.until_s for slot in self.slots.values() if slot.state == "ready")
            open_from_s = min(open_from_s, min((at_s for at_s in probes_s if at_s > now_s), default=math.inf))
        return open_from_s

    def capacity(self) -> tuple[float, float, float]:
        """(queries in a full batch, seconds that it runs, seconds that a single query runs) of the average replica.

        Full is the size that the SLO has room for, but at most twice the largest one measured: batches are as small as
        the load lets them be, and beyond that nobody knows. Zero seconds: nothing is known.
        """
        measured = [slot for slot in self.slots.values() if slot.ready and slot.latency.largest]
        if not measured:
            return 1.0, 0.0, 0.0
        sizes = [min(slot.policy.expected_size, 2 * slot.latency.largest) for slot in measured]
        pairs = list(zip(sizes, measured, strict=True))
        size = sum(sizes) / len(pairs)
        per_s = sum(size / max(slot.latency.seconds(size), 1e-9) for size, slot in pairs) / len(pairs)
        return size, size / per_s, sum(slot.latency.seconds(1) for slot in measured) / len(pairs)

    def batches(self) -> Iterator[Batch]:
        """Everything that executes."""
        for slot in (*self.slots.values(), *self.leaving):
            yield from slot.batches.values()

    def describe(self, now_s: float) -> list[dict[str, Any]]:
        """For people."""
        return [slot.describe(now_s) for slot in (*self.slots.values(), *self.leaving)]
