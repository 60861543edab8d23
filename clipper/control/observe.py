"""From the controller's slots to the observed state that everybody reads. Pure."""

from collections.abc import Mapping, Sequence

from clipper.control.lifecycle import Traffic, versions_to_run
from clipper.control.slots import LEAVING, Phase, Slot
from clipper.domain import Desired, Observed, Replica, ReplicaState, Version, VersionState, VersionStatus

_REPLICA_STATES: Mapping[Phase, ReplicaState] = {
    "waiting": "starting",
    "starting": "starting",
    "warming": "warming",
    "ready": "ready",
    "failed": "failed",
    "draining": "draining",
    "stopping": "draining",
}


def observe(
    desired: Desired, before: Observed, slots: Mapping[str, Slot], traffic: Traffic, host_id: str, wall_s: float
) -> Observed:
    """What is to be reported; equal to ``before`` where nothing changed. ``wall_s`` is in seconds since the epoch."""
    run = {version.key for version in versions_to_run(desired, traffic)}
    by_version: dict[tuple[str, str, int], list[Slot]] = {}
    for slot in slots.values():
        by_version.setdefault(slot.key, []).append(slot)
    statuses: dict[str, dict[str, VersionStatus]] = {}
    for model, versions in desired.versions.items():
        for name, version in versions.items():
            members = by_version.get((model, name, version.generation), [])
            old = before.statuses.get(model, {}).get(name)
            statuses.setdefault(model, {})[name] = _status(version, members, version.key in run, old, wall_s)
    replicas = {
        slot.replica_id: _replica(slot, before.replicas.get(slot.replica_id), host_id, wall_s)
        for slot in sorted(slots.values(), key=lambda slot: slot.replica_id)
        if slot.address is not None
    }
    return Observed(
        current=dict(traffic.current), previous=dict(traffic.previous), statuses=statuses, replicas=replicas
    )


def _status(
    version: Version, slots: Sequence[Slot], runs: bool, old: VersionStatus | None, wall_s: float
) -> VersionStatus:
    state, reason = _state_and_reason(version, slots, runs)
    same = old is not None and old.generation == version.generation
    width = next((slot.input_width for slot in slots if slot.input_width is not None), None)
    if width is None:
        width = old.input_width if old is not None and same else version.manifest.get("input_width")
    return VersionStatus(
        model=version.model,
        version=version.spec.version,
        generation=version.generation,
        state=state,
        reason=reason,
        since=old.since if old is not None and same and old.state == state else wall_s,
        input_width=width,
    )


def _state_and_reason(version: Version, slots: Sequence[Slot], runs: bool) -> tuple[VersionState, str | None]:
    staying = [slot for slot in slots if slot.phase not in LEAVING]
    troubled = [slot for slot in staying if slot.phase != "ready" and (slot.doing or slot.reason) is not None]
    reason = _reason(troubled[-1]) if troubled else None
    if not runs or version.spec.replicas == 0:
        return "draining" if slots else "stopped", _why_stopped(version, runs)
    if any(slot.phase == "ready" for slot in staying):
        return "ready", reason
    if any(slot.failing for slot in staying):
        return "failed", reason
    if any(slot.phase == "warming" for slot in staying):
        return "warming", reason
    return "starting", reason


def _why_stopped(version: Version, runs: bool) -> str | None:
    if runs:
        return "Scaled to 0 replicas."
    return "Other versions took its traffic; promote it to start it again." if version.wanted else None


def _reason(slot: Slot) -> str:
    return f"{slot.replica_id}: {slot.doing or slot.reason}"


def _replica(slot: Slot, old: Replica | None, host_id: str, wall_s: float) -> Replica:
    state: ReplicaState = "failed" if slot.phase == "waiting" and slot.failing else _REPLICA_STATES[slot.phase]
    return Replica(
        replica_id=slot.replica_id,
        model=slot.model,
        version=slot.version,
        generation=slot.generation,
        host_id=host_id,
        address=slot.address or "",
        state=state,
        pid=slot.pid,
        pid_created_at=slot.pid_created_at,
        restarts=slot.restarts,
        reason=slot.reason,
        last_words=slot.last_words,
        since=old.since if old is not None and old.state == state and old.pid == slot.pid else wall_s,
    )
