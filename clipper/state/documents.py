"""The state as rows: small JSON documents by kind and name, so that a change writes only what it touched."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from clipper.deployment import Rollout
from clipper.domain import Application, Desired, Model, Observed, Replica, Version, VersionStatus

DESIRED_KINDS = ("application", "generation", "model", "version")
OBSERVED_KINDS = ("traffic", "status", "replica", "rollout")

Key = tuple[str, str]
"""(kind, name). A version's name is ``model:version``; neither part can hold a colon."""


def desired_values(desired: Desired) -> dict[Key, Any]:
    """Every value of the desired state under its key."""
    values: dict[Key, Any] = {("application", app.name): app for app in desired.applications.values()}
    values |= {("model", model.name): model for model in desired.models.values()}
    values |= {("generation", name): {"revision": revision} for name, revision in desired.generations.items()}
    for versions in desired.versions.values():
        values |= {("version", ":".join(version.key)): version for version in versions.values()}
    return values


def observed_values(observed: Observed) -> dict[Key, Any]:
    """Every value of the observed state under its key."""
    names = observed.current.keys() | observed.previous.keys()
    values: dict[Key, Any] = {
        ("traffic", name): {"current": observed.current.get(name), "previous": observed.previous.get(name, ())}
        for name in names
    }
    for statuses in observed.statuses.values():
        values |= {("status", f"{status.model}:{status.version}"): status for status in statuses.values()}
    values |= {("replica", replica.replica_id): replica for replica in observed.replicas.values()}
    values |= {("rollout", rollout.model): rollout for rollout in observed.rollouts.values()}
    return values


def differences(old: Mapping[Key, Any], new: Mapping[Key, Any]) -> tuple[dict[Key, str], set[Key]]:
    """(bodies to write, keys to delete) that lead from ``old`` to ``new``."""
    written = {key: encode(value) for key, value in new.items() if key not in old or _differ(old[key], value)}
    return written, old.keys() - new.keys()


def _differ(old: Any, new: Any) -> bool:
    return old is not new and encode(old) != encode(new)


def encode(value: Any) -> str:
    """A value as its document."""
    body = (
        value
        if isinstance(value, dict)
        else value.to_json()
        if isinstance(value, Application)
        else value.model_dump(mode="json")
    )
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def decode_desired(rows: Iterable[tuple[str, str, str]]) -> Desired:
    """The desired state from its (kind, name, body) rows."""
    applications: dict[str, Application] = {}
    generations: dict[str, int] = {}
    models: dict[str, Model] = {}
    versions: dict[str, dict[str, Version]] = {}
    for kind, name, text in rows:
        body = json.loads(text)
        if kind == "application":
            applications[name] = Application.model_validate(body)
        elif kind == "generation":
            generations[name] = body["revision"]
        elif kind == "model":
            models[name] = Model.model_validate(body)
        elif kind == "version":
            version = Version.model_validate(body)
            versions.setdefault(version.model, {})[version.spec.version] = version
    return Desired(applications=applications, generations=generations, models=models, versions=versions)


def decode_observed(rows: Iterable[tuple[str, str, str]]) -> Observed:
    """The observed state from its (kind, name, body) rows."""
    current: dict[str, str] = {}
    previous: dict[str, tuple[str, ...]] = {}
    statuses: dict[str, dict[str, VersionStatus]] = {}
    replicas: dict[str, Replica] = {}
    rollouts: dict[str, Rollout] = {}
    for kind, name, text in rows:
        body = json.loads(text)
        if kind == "traffic":
            current |= {name: body["current"]} if body["current"] else {}
            previous |= {name: tuple(body["previous"])} if body["previous"] else {}
        elif kind == "status":
            status = VersionStatus.model_validate(body)
            statuses.setdefault(status.model, {})[status.version] = status
        elif kind == "replica":
            replicas[name] = Replica.model_validate(body)
        elif kind == "rollout":
            rollouts[name] = Rollout.model_validate(body)
    return Observed(current=current, previous=previous, statuses=statuses, replicas=replicas, rollouts=rollouts)
