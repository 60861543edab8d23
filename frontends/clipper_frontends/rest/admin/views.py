"""From a snapshot of the store to the answers of the admin API. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clipper.control.lookup import applications_of, find_model, find_version, replicas_wanted
from clipper.deployment import ReplicaRange
from clipper.domain import Replica, Snapshot, Version, VersionStatus
from clipper_frontends.rest.admin.schemas import ModelInfo, ReplicaCount, VersionInfo, VersionMeasurements

Measured = Mapping[str, Mapping[str, Any]]
"""By ``model:version``."""


def model_info(snapshot: Snapshot, name: str, measured: Measured) -> ModelInfo:
    """A model with its versions.

    Raises:
        UnknownModel: There is none of this name.
    """
    model = find_model(snapshot.desired, name)
    versions = sorted(snapshot.desired.versions.get(name, {}).values(), key=lambda version: version.generation)
    return ModelInfo(
        name=name,
        current=current_version(snapshot, name, measured),
        target=model.target,
        canary=model.canary,
        rollout=snapshot.observed.rollouts.get(name),
        previous=list(snapshot.observed.previous.get(name, ())),
        keep_warm=model.keep_warm,
        applications=applications_of(snapshot.desired, name),
        versions=[_version_info(snapshot, version, measured) for version in versions],
    )


def version_info(snapshot: Snapshot, model: str, version: str, measured: Measured) -> VersionInfo:
    """One version with its state.

    Raises:
        UnknownModel, UnknownVersion: There is none of this name.
    """
    return _version_info(snapshot, find_version(snapshot.desired, model, version), measured)


def current_version(snapshot: Snapshot, model: str, measured: Measured) -> str | None:
    """The version that has the model's traffic.

    A frontend follows the controller as soon as its own link to the new version is ready. Whoever reads here that a
    version is current gets its answers from there: where this frontend still sends its queries elsewhere, that counts.
    """
    chosen = snapshot.observed.current.get(model)
    versions = snapshot.desired.versions.get(model, {})
    asked = [version for version in versions if measured.get(f"{model}:{version}", {}).get("traffic")]
    return next((version for version in asked if version != chosen), asked[0] if asked else chosen)


def _version_info(snapshot: Snapshot, version: Version, measured: Measured) -> VersionInfo:
    model, name = version.key
    status = _status(snapshot, version)
    replicas = list(_replicas(snapshot, version))
    numbers = measured.get(f"{model}:{name}")
    spec = version.spec
    return VersionInfo(
        model=model,
        version=name,
        state=status.state,
        reason=status.reason,
        since=status.since,
        current=current_version(snapshot, model, measured) == name,
        target=snapshot.desired.models[model].target == name,
        serving=_is_serving(numbers),
        wanted=version.wanted,
        replicas=_count(snapshot, version, replicas),
        restarts=sum(replica.restarts for replica in replicas),
        last_words=_last_words(replicas),
        flavor=spec.flavor,
        input_type=spec.input_type,
        inputs=spec.inputs,
        outputs=spec.outputs,
        input_width=status.input_width or version.manifest.get("input_width"),
        method=spec.method,
        batching=spec.batching,
        caching=spec.caching,
        limits=spec.limits,
        generation=version.generation,
        digest=version.digest,
        manifest=version.manifest,
        created_at=version.created_at,
        on_trial=snapshot.desired.models[model].canary == name,
        canary=spec.canary,
        address=spec.external.address if spec.external is not None else None,
        measured=None if numbers is None else VersionMeasurements.model_validate(numbers),
    )


def _count(snapshot: Snapshot, version: Version, replicas: Sequence[Replica]) -> ReplicaCount:
    bounds = version.spec.replicas
    scale = _status(snapshot, version).scale
    return ReplicaCount(
        wanted=replicas_wanted(version, snapshot.observed) if version.wanted else 0,
        ready=sum(replica.state == "ready" for replica in replicas),
        bounds=bounds if isinstance(bounds, ReplicaRange) else None,
        why=scale.reason if scale is not None else None,
    )


def _status(snapshot: Snapshot, version: Version) -> VersionStatus:
    """What the controller says of this generation; a version that it has not seen yet is only registered."""
    model, name = version.key
    status = snapshot.observed.statuses.get(model, {}).get(name)
    if status is not None and status.generation == version.generation:
        return status
    return VersionStatus(
        model=model, version=name, generation=version.generation, state="registered", since=version.created_at
    )


def _replicas(snapshot: Snapshot, version: Version) -> Iterable[Replica]:
    for replica in snapshot.observed.replicas.values():
        if (replica.model, replica.version, replica.generation) == (*version.key, version.generation):
            yield replica


def _is_serving(measured: Mapping[str, Any] | None) -> bool:
    return bool((measured or {}).get("serving"))


def _last_words(replicas: Iterable[Replica]) -> str | None:
    spoken = sorted((replica.since, replica.last_words) for replica in replicas if replica.last_words)
    return spoken[-1][1] if spoken else None
