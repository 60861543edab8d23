"""One place for a replica and what happens in it: pure transitions from one frozen value to the next.

::

    waiting ──start──▶ starting ──▶ warming ──▶ ready ──▶ draining ──▶ stopping ──▶ (gone)
       ▲                  │            │          │
       └──── its process ended, or its model did not load (failed) ◀──┘
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from clipper.control.backoff import Backoff
from clipper.control.manager import Exit, Running
from clipper.domain import Replica, Version

Phase = Literal["waiting", "starting", "warming", "ready", "failed", "draining", "stopping"]
LEAVING: frozenset[Phase] = frozenset({"draining", "stopping"})

SHORTEST_HEALTHY_S = 1.0
LONGEST_HEALTHY_S = 30.0
"""Ready for as long as the pause that its next failure would bring, within these bounds, a replica counts as sound."""
CRASH_LOOP_FAILURES = 3
"""So many failures in a row, and its version counts as failed (unless another replica is ready)."""
RESTART_BACKOFF = Backoff(base_s=0.1, max_s=60.0)
RELOAD_BACKOFF = Backoff(base_s=10.0, max_s=300.0)
"""A model that did not load will seldom load the next time, and loading costs much."""

_REPLICA_ID = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+\.g(\d+)\.r(\d+)")


@dataclass(frozen=True)
class Slot:
    """What the controller knows of one place for a replica. Times are seconds on the controller's monotonic clock.

    ``failures`` counts in a row, ``restarts`` since the slot is there. ``reason`` and ``last_words`` are those of the
    last failure, also after the replica is back. ``doing`` is what is done before its process can exist.
    """

    replica_id: str
    model: str
    version: str
    generation: int
    number: int
    phase: Phase = "waiting"
    since_s: float = 0.0
    retry_at_s: float = 0.0
    failures: int = 0
    restarts: int = 0
    load_failed: bool = False
    reason: str | None = None
    last_words: str | None = None
    address: str | None = None
    pid: int | None = None
    pid_created_at: float | None = None
    input_width: int | None = None
    doing: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """(model, version, generation) that it belongs to."""
        return self.model, self.version, self.generation

    @property
    def failing(self) -> bool:
        """Whether it fails so persistently that its version does, if no other replica is ready."""
        return self.load_failed or self.failures >= CRASH_LOOP_FAILURES


def new_slot(version: Version, number: int, now_s: float) -> Slot:
    """An empty slot, to be filled at once. Its name is also the replica's: a replica that comes back keeps it."""
    model, name = version.key
    replica_id = f"{model}.{name}.g{version.generation}.r{number}"
    return Slot(replica_id, model, name, version.generation, number, since_s=now_s, retry_at_s=now_s)


def adopted(running: Running, before: Replica | None, now_s: float) -> Slot:
    """The slot of a replica that was found running, with what the registry remembers of it."""
    match = _REPLICA_ID.fullmatch(running.replica_id)
    slot = Slot(running.replica_id, running.model, running.version, running.generation, int(match[2]) if match else -1)
    slot = started(replace(slot, phase="starting", since_s=now_s), running)
    if before is None:
        return slot
    return replace(slot, restarts=before.restarts, reason=before.reason, last_words=before.last_words)


def preparing(slot: Slot, doing: str, now_s: float) -> Slot:
    """What it needs is on its way; the time that it has to become ready starts again."""
    if slot.phase == "waiting" or slot.pid is not None:
        return slot  # told late: it has ended or started since
    return replace(slot, doing=doing, since_s=now_s if slot.phase == "starting" else slot.since_s)


def started(slot: Slot, running: Running) -> Slot:
    """Its process exists."""
    return replace(slot, address=running.address, pid=running.pid, pid_created_at=running.pid_created_at, doing=None)


def progressed(slot: Slot, state: str, detail: str, now_s: float) -> Slot:
    """The replica said that it is loading or warming, or that its model cannot be loaded (``failed``)."""
    if slot.phase not in {"starting", "warming"}:
        return slot
    if state == "failed":
        return replace(slot, phase="failed", since_s=now_s, load_failed=True, reason=detail)
    if state == "warming" and slot.phase == "starting":
        return replace(slot, phase="warming")
    return slot


def became_ready(slot: Slot, input_width: int | None, now_s: float) -> Slot:
    """The replica answered that it can take batches."""
    if slot.phase in LEAVING:
        return slot
    return replace(slot, phase="ready", since_s=now_s, load_failed=False, input_width=input_width)


def lost(slot: Slot, now_s: float) -> Slot:
    """The connection to a ready replica broke: until it is back (or the process ends) it is not ready."""
    if slot.phase != "ready":
        return slot
    return replace(slot, phase="starting", since_s=now_s, failures=_failures(slot, now_s))


def exited(slot: Slot, end: Exit, now_s: float, draw: float) -> Slot | None:
    """The process ended; None where that was meant to be, else the slot that waits for the next one.

    Args:
        slot: Where it ended.
        end: How it ended.
        now_s: When, on the controller's clock.
        draw: Uniform in [0, 1).
    """
    if slot.phase in LEAVING:
        return None
    failures = _failures(slot, now_s) + 1
    load_failed = slot.load_failed or end.load_failed
    backoff = RELOAD_BACKOFF if load_failed else RESTART_BACKOFF
    return replace(
        slot,
        phase="waiting",
        since_s=now_s,
        retry_at_s=now_s + backoff.delay_s(failures, draw),
        failures=failures,
        restarts=slot.restarts + 1,
        load_failed=load_failed,
        # The exit that follows a failure to load says less than the replica itself did before.
        reason=slot.reason if slot.phase == "failed" else end.reason,
        last_words=end.last_words,
        pid=None,
        pid_created_at=None,
        doing=None,
    )


def _failures(slot: Slot, now_s: float) -> int:
    """Failures in a row so far: none for a replica that was ready for longer than it would have to pause.

    So a replica that serves and is killed every few seconds is soon back each time, and one that dies at once pauses
    longer and longer.
    """
    if slot.phase != "ready":
        return slot.failures
    pause_s = RESTART_BACKOFF.delay_s(slot.failures + 1, 1.0)
    healthy_after_s = min(max(pause_s, SHORTEST_HEALTHY_S), LONGEST_HEALTHY_S)
    return 0 if now_s - slot.since_s >= healthy_after_s else slot.failures
