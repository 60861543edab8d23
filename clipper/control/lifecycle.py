"""What to do next so that what runs becomes what is wanted. Pure: facts and the time in, the decision out.

Which versions run: a model's target, its canary, its current version until the target is ready, the ``keep_warm`` that
were current before, and versions deployed without promotion that never had the traffic. All others drain and stop.

A version whose model cannot be loaded, or that crashes three times in a row, is *failed*: nobody waits for it any
longer, and the current version keeps the traffic. It is nevertheless tried again, at growing intervals of at most five
minutes, because the cause may have gone (memory was short, a file server was away); once ready, it takes the traffic
that it was to have.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from clipper.control.lookup import replicas_wanted
from clipper.control.slots import LEAVING, Slot, new_slot
from clipper.domain import Desired, Observed, Version

FAILED_LINGER_S = 5.0
"""A replica whose model did not load has so long to tell its peers why and to end by itself."""


@dataclass(frozen=True)
class Timing:
    """The delays of a replica's life, in seconds.

    Between leaving the registry and being told to end (``drain_s``) frontends notice and send no more.
    """

    drain_s: float
    start_timeout_s: float


@dataclass(frozen=True)
class Start:
    """Start a process in the slot."""

    slot: Slot
    version: Version


@dataclass(frozen=True)
class Stop:
    """Ask the replica to finish and end."""

    replica_id: str


@dataclass(frozen=True)
class Kill:
    """End the replica at once, for this reason."""

    replica_id: str
    reason: str


Action = Start | Stop | Kill


@dataclass(frozen=True)
class Traffic:
    """Which version has each model's traffic, and which had it before (the latest first)."""

    current: Mapping[str, str]
    previous: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Decision:
    """The slots as they are from now on, what to do, where the traffic goes, and when to decide again at the latest."""

    slots: Mapping[str, Slot]
    actions: tuple[Action, ...]
    traffic: Traffic
    wake_at_s: float | None


def decide(desired: Desired, observed: Observed, slots: Mapping[str, Slot], now_s: float, timing: Timing) -> Decision:
    """One step towards ``desired``. Deciding again at once, with nothing changed, does nothing."""
    traffic = move_traffic(desired, observed, slots)
    running = {
        (version.model, version.spec.version, version.generation): version
        for version in versions_to_run(desired, traffic)
    }
    counts = {key: replicas_wanted(version, observed) for key, version in running.items()}
    placed = dict(_place(running, counts, slots, now_s))
    actions: list[Action] = []
    after: dict[str, Slot] = {}
    for slot in placed.values():
        action, stepped = _step(slot, running.get(slot.key), now_s, timing)
        if action is not None:
            actions.append(action)
        after[slot.replica_id] = stepped
    wakes = [_wake_at_s(slot, timing) for slot in after.values()]
    wake_at_s = min((wake for wake in wakes if wake is not None), default=None)
    return Decision(after, tuple(actions), traffic, wake_at_s)


def move_traffic(desired: Desired, observed: Observed, slots: Mapping[str, Slot]) -> Traffic:
    """The current version of each model becomes its target when the target has a ready replica, never before."""
    ready = {slot.key for slot in slots.values() if slot.phase == "ready"}
    current: dict[str, str] = {}
    previous: dict[str, tuple[str, ...]] = {}
    for model in desired.models.values():
        versions = desired.versions.get(model.name, {})
        old = _still_there(desired, observed, model.name, observed.current.get(model.name))
        history = tuple(
            name
            for name in observed.previous.get(model.name, ())
            if _still_there(desired, observed, model.name, name) is not None
        )
        new = old if old is not None and versions[old].wanted else None
        target = versions.get(model.target or "")
        if target is not None and (target.model, target.spec.version, target.generation) in ready:
            new = target.spec.version
        if new != old and old is not None:
            history = (old, *(name for name in history if name != old))
        history = tuple(name for name in history if name != new)
        current |= {model.name: new} if new is not None else {}
        previous |= {model.name: history} if history else {}
    return Traffic(current, previous)


def versions_to_run(desired: Desired, traffic: Traffic) -> Iterator[Version]:
    """The versions that are to have replicas now."""
    for model in desired.models.values():
        leading = {model.target, model.canary, traffic.current.get(model.name)}
        wanted = {name: v for name, v in desired.versions.get(model.name, {}).items() if v.wanted}
        history = traffic.previous.get(model.name, ())
        warm = [name for name in history if name in wanted and name not in leading][: model.keep_warm]
        for name, version in wanted.items():
            unpromoted = not version.spec.promote and name not in history
            if name in leading or name in warm or unpromoted:
                yield version


def _still_there(desired: Desired, observed: Observed, model: str, name: str | None) -> str | None:
    """``name``, if it is still the same version: one that was deleted and created anew is another."""
    version = desired.version(model, name or "")
    status = observed.statuses.get(model, {}).get(name or "")
    same = version is not None and (status is None or status.generation == version.generation)
    return name if same else None


def _place(
    running: Mapping[tuple[str, str, int], Version],
    counts: Mapping[tuple[str, str, int], int],
    slots: Mapping[str, Slot],
    now_s: float,
) -> Iterator[tuple[str, Slot]]:
    """The slots after scaling: new ones where some are missing, surplus ones on their way out."""
    by_version: dict[tuple[str, str, int], list[Slot]] = {key: [] for key in running}
    for slot in slots.values():
        by_version.setdefault(slot.key, []).append(slot)
    for key, members in by_version.items():
        version = running.get(key)
        staying = [slot for slot in members if slot.phase not in LEAVING]
        surplus = len(staying) - counts.get(key, 0)
        doomed = {slot.replica_id for slot in sorted(staying, key=_dispensability)[: max(0, surplus)]}
        for slot in members:
            if slot.replica_id not in doomed:
                yield slot.replica_id, slot
            elif slot.phase != "waiting":
                yield slot.replica_id, _leave(slot, now_s)
        if version is not None and surplus < 0:
            taken = {slot.number for slot in members}
            for number in [n for n in range(len(members) - surplus) if n not in taken][:-surplus]:
                slot = new_slot(version, number, now_s)
                yield slot.replica_id, slot


def _dispensability(slot: Slot) -> tuple[int, int]:
    """Who goes first when there are too many: who serves least, then who came last."""
    order = ("failed", "waiting", "starting", "warming", "ready")
    return order.index(slot.phase), -slot.number


def _leave(slot: Slot, now_s: float) -> Slot:
    """Out of the registry; one that has no traffic yet need not wait for frontends to notice."""
    return replace(slot, phase="draining", since_s=now_s if slot.phase == "ready" else float("-inf"))


def _step(slot: Slot, version: Version | None, now_s: float, timing: Timing) -> tuple[Action | None, Slot]:
    """What happens to one slot now, and the slot afterwards."""
    match slot.phase:
        case "draining" if slot.pid is not None and now_s >= slot.since_s + timing.drain_s:
            return Stop(slot.replica_id), replace(slot, phase="stopping", since_s=now_s)
        case "waiting" if version is not None and now_s >= slot.retry_at_s:
            starting = replace(slot, phase="starting", since_s=now_s)
            return Start(starting, version), starting
        case "starting" | "warming" if now_s >= slot.since_s + timing.start_timeout_s:
            reason = f"not ready within {timing.start_timeout_s:g} s (start_timeout_s)"
            return Kill(slot.replica_id, reason), replace(slot, since_s=now_s)
        case "failed" if now_s >= slot.since_s + FAILED_LINGER_S:
            return Kill(slot.replica_id, slot.reason or "its model failed"), replace(slot, since_s=now_s)
        case _:
            return None, slot


def _wake_at_s(slot: Slot, timing: Timing) -> float | None:
    match slot.phase:
        case "waiting":
            return slot.retry_at_s
        case "draining" if slot.pid is not None:
            return slot.since_s + timing.drain_s
        case "failed":
            return slot.since_s + FAILED_LINGER_S
        case "starting" | "warming":
            return slot.since_s + timing.start_timeout_s
        case _:
            return None
