"""From the controller's slots to the observed state that everybody reads: pure, but for what is logged of it."""

import logging
from collections.abc import Mapping, Sequence

from clipper.control.lifecycle import Traffic, versions_to_run
from clipper.control.slots import LEAVING, Phase, Slot
from clipper.deployment import Rollout
from clipper.domain import Desired, Observed, Replica, ReplicaState, Version, VersionState, VersionStatus

_log = logging.getLogger(__name__)

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
            rollout = before.rollouts.get(model)
            status = _status(version, members, version.key in run, old, rollout, wall_s)
            statuses.setdefault(model, {})[name] = status
    replicas = {
        slot.replica_id: _replica(slot, before.replicas.get(slot.replica_id), host_id, wall_s)
        for slot in sorted(slots.values(), key=lambda slot: slot.replica_id)
        if slot.address is not None
    }
    return Observed(
        current=dict(traffic.current),
        previous=dict(traffic.previous),
        statuses=statuses,
        replicas=replicas,
        rollouts={model: rollout for model, rollout in before.rollouts.items() if model in desired.models},
    )


def _status(
    version: Version,
    slots: Sequence[Slot],
    runs: bool,
    old: VersionStatus | None,
    rollout: Rollout | None,
    wall_s: float,
) -> VersionStatus:
    state, reason = _state_and_reason(version, slots, runs, rollout)
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
        scale=old.scale if old is not None and same else None,
    )


def _state_and_reason(
    version: Version, slots: Sequence[Slot], runs: bool, rollout: Rollout | None
) -> tuple[VersionState, str | None]:
    staying = [slot for slot in slots if slot.phase not in LEAVING]
    troubled = [slot for slot in staying if slot.phase != "ready" and (slot.doing or slot.reason) is not None]
    reason = _reason(troubled[-1]) if troubled else None
    if not runs or version.spec.replicas == 0:
        return "draining" if slots else "stopped", _why_stopped(version, runs, rollout)
    if any(slot.phase == "ready" for slot in staying):
        return "ready", reason
    if any(slot.failing for slot in staying):
        return "failed", reason
    if any(slot.phase == "warming" for slot in staying):
        return "warming", reason
    return "starting", reason


def _why_stopped(version: Version, runs: bool, rollout: Rollout | None) -> str | None:
    if runs:
        return "Scaled to 0 replicas."
    this = (version.spec.version, version.generation, "rolled_back")
    if rollout is not None and (rollout.version, rollout.generation, rollout.state) == this:
        return f"Rolled back: {rollout.reason}."
    return "Other versions took its traffic; promote it to start it again." if version.wanted else None


def _reason(slot: Slot) -> str:
    return f"{slot.replica_id}: {slot.doing or slot.reason}"


def _replica(slot: Slot, old: Replica | None, host_id: str, wall_s: float) -> Replica:
    state: ReplicaState = "failed" if slot.phase == "waiting" and slot.failing else _REPLICA_STATES[slot.phase]
    pid = slot.pid or None  # there is none of a container that somebody else runs
    return Replica(
        replica_id=slot.replica_id,
        model=slot.model,
        version=slot.version,
        generation=slot.generation,
        host_id=host_id,
        address=slot.address or "",
        state=state,
        pid=pid,
        pid_created_at=slot.pid_created_at,
        restarts=slot.restarts,
        reason=slot.reason,
        last_words=slot.last_words,
        since=old.since if old is not None and old.state == state and old.pid == pid else wall_s,
    )


def log_changes(before: Observed, after: Observed) -> None:
    """Say in the log what changed of versions and of where the traffic goes."""
    for model, statuses in after.statuses.items():
        for version, status in statuses.items():
            old = before.statuses.get(model, {}).get(version)
            if old is None or (old.state, old.generation) != (status.state, status.generation):
                _log.info("%s:%s is %s%s", model, version, status.state, f" ({status.reason})" if status.reason else "")
        if before.current.get(model) != after.current.get(model):
            _log.info("The traffic of %s goes to version %s", model, after.current.get(model))


def log_scaling(before: Observed, after: Observed) -> None:
    """Say in the log which versions get another number of replicas, and why."""
    for model, statuses in after.statuses.items():
        for version, status in statuses.items():
            old = before.statuses.get(model, {}).get(version)
            if status.scale is not None and (old is None or old.scale != status.scale):
                _log.info("%s:%s scales %s", model, version, status.scale.reason)
