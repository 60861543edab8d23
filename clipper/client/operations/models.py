"""Models, their versions and replicas."""

from collections.abc import Iterable, Mapping
from typing import Any

from clipper.client.paths import path
from clipper.client.steps import Request, Session, Steps
from clipper.errors import Conflict, NotFound, UnknownVersion
from clipper.json_encoding import encode


def set_model_version(
    _session: Session, name: str, version: str | int, *, canary: str | Mapping[str, Any] | None = None
) -> Steps[None]:
    """Give a version the traffic: roll forward or back. The version that has it keeps it until this one is ready.

    With ``canary`` (``"5%"``, or a dict of `clipper.deployment.Canary`) it gets that part first, and all of it once it
    has proved itself. Without, a canary that runs is over: won if it is this version, else lost.

    Raises:
        UnknownModel: There is no such model.
        UnknownVersion: It has no such version.
    """
    body = encode({"version": str(version)} | ({} if canary is None else {"canary": canary}))
    reply = yield Request("PUT", path("models", name, "current"), body=body)
    reply.json()


def roll_back(session: Session, name: str) -> Steps[str]:
    """Return to the version before: end a canary, take back a promotion under way, or promote the previous version.

    Returns:
        The version that has the traffic, or gets it as soon as it is ready.

    Raises:
        UnknownModel: There is no such model.
        Conflict: There is nothing to return to.
    """
    info = yield from get_model_info(session, name)
    current, under_way = info["current"], info["canary"] is not None or info["target"] != info["current"]
    before = current if current is not None and under_way else next(iter(info["previous"]), None)
    if before is None:
        raise Conflict(f"Model '{name}' has no earlier version to return to (current: {current or 'none'}).")
    yield from set_model_version(session, name, before)
    return str(before)


def set_num_replicas(
    session: Session,
    name: str,
    num_replicas: int | str | Mapping[str, int],
    *,
    version: str | int | None = None,
) -> Steps[None]:
    """Run so many replicas of a version, of the current one if none is named.

    With a range (``"1-8"`` or ``{"min": 1, "max": 8}``) it scales by itself.

    Raises:
        UnknownModel: There is no such model.
        UnknownVersion: It has no such version, or none is current.
        InvalidRequest: The number is out of range.
    """
    if version is None:
        version = yield from _target_version(session, name)
    yield from update_model_version(session, name, version, replicas=num_replicas)


def update_model(_session: Session, /, name: str, **changes: Any) -> Steps[dict[str, Any]]:
    """Change what can be changed of a model: ``keep_warm=2`` earlier versions stay ready for a rollback.

    Raises:
        UnknownModel: There is no such model.
        InvalidRequest: A value is out of range, or it cannot be changed.
    """
    reply = yield Request("PATCH", path("models", name), body=encode(changes))
    info: dict[str, Any] = reply.json()
    return info


def update_model_version(_session: Session, /, name: str, version: str | int, **changes: Any) -> Steps[dict[str, Any]]:
    """Change what can be changed of a version while it serves: ``replicas=3``, ``batching="fixed:32"``.

    Raises:
        UnknownModel: There is no such model.
        UnknownVersion: It has no such version.
        InvalidRequest: A value is out of range, or it cannot be changed.
    """
    reply = yield Request("PATCH", path("models", name, "versions", version), body=encode(changes))
    info: dict[str, Any] = reply.json()
    return info


def get_all_models(_session: Session, *, verbose: bool = False) -> Steps[list[Any]]:
    """The names of all models, or with ``verbose`` each one's description with its versions."""
    reply = yield Request("GET", path("models"), repeatable=True)
    models = reply.json()
    return list(models) if verbose else [model["name"] for model in models]


def get_model_info(_session: Session, name: str, version: str | int | None = None) -> Steps[dict[str, Any]]:
    """The description of one version with its state and replicas, or of the model with all its versions.

    Raises:
        UnknownModel: There is no such model.
        UnknownVersion: It has no such version.
    """
    parts = ("models", name) if version is None else ("models", name, "versions", version)
    reply = yield Request("GET", path(*parts), repeatable=True)
    info: dict[str, Any] = reply.json()
    return info


def get_current_model_version(session: Session, name: str) -> Steps[str | None]:
    """The version that has the traffic; None while no version was ready yet.

    Raises:
        UnknownModel: There is no such model.
    """
    info = yield from get_model_info(session, name)
    current: str | None = info["current"]
    return current


def get_all_model_replicas(_session: Session) -> Steps[list[dict[str, Any]]]:
    """Every replica that runs or should run, with its state."""
    reply = yield Request("GET", path("replicas"), repeatable=True)
    replicas: list[dict[str, Any]] = reply.json()
    return replicas


def stop_models(session: Session, names: Iterable[str]) -> Steps[None]:
    """Stop every version of these models. They stay known: `set_model_version` starts one again.

    Raises:
        UnknownModel: One of the models does not exist; nothing was stopped then.
    """
    infos: list[dict[str, Any]] = []
    for name in _several(names):
        info = yield from get_model_info(session, name)
        infos.append(info)
    for info in infos:
        yield from _stop(session, info["name"], [version["version"] for version in info["versions"]])


def stop_versioned_models(session: Session, versions: Mapping[str, Iterable[str | int]]) -> Steps[None]:
    """Stop these versions: ``{"svm": [1, 2]}``.

    Raises:
        UnknownModel: One of the models does not exist.
        UnknownVersion: One of the versions does not exist.
    """
    for name, of_model in versions.items():
        yield from _stop(session, name, _several(of_model))


def stop_inactive_model_versions(session: Session, names: Iterable[str]) -> Steps[None]:
    """Stop every version of these models that neither has the traffic nor is about to get it.

    Raises:
        UnknownModel: One of the models does not exist.
    """
    for name in _several(names):
        info = yield from get_model_info(session, name)
        active = {info["current"], info["target"]}
        yield from _stop(session, name, [v["version"] for v in info["versions"] if v["version"] not in active])


def delete_model(_session: Session, name: str, version: str | int | None = None) -> Steps[None]:
    """Forget a model, or one version of it, and stop what runs of it.

    Raises:
        UnknownModel: There is no such model.
        UnknownVersion: It has no such version.
        StillInUse: An application links it.
    """
    parts = ("models", name) if version is None else ("models", name, "versions", version)
    reply = yield Request("DELETE", path(*parts))
    reply.json()


def get_logs(session: Session, replica: str, *, lines: int = 200) -> Steps[str]:
    """The last lines that a replica wrote, or every replica of a model, or of a version named ``model:version``.

    Raises:
        NotFound: There is no such replica, and no such model.
    """
    every = yield from get_all_model_replicas(session)
    if any(known["replica_id"] == replica for known in every):
        return (yield from _replica_logs(replica, lines))
    name, _, version = replica.partition(":")
    of_model = [r for r in every if r["model"] == name and version in {"", r["version"]}]
    if not of_model:
        yield from _explain_no_replica(session, name, version, replica)
    logs = []
    for known in of_model:
        text = yield from _replica_logs(known["replica_id"], lines)
        logs.append(f"==> {known['replica_id']} ({known['model']}:{known['version']}) <==\n{text}")
    return "\n".join(logs)


def _replica_logs(replica_id: str, lines: int) -> Steps[str]:
    reply = yield Request("GET", path("replicas", replica_id, "logs"), params={"lines": str(lines)}, repeatable=True)
    return str(reply.json()["logs"])


def _explain_no_replica(session: Session, name: str, version: str, asked: str) -> Steps[None]:
    try:
        yield from get_model_info(session, name, version or None)
    except UnknownVersion:
        raise
    except NotFound:
        raise NotFound(f"There is no replica and no model '{asked}'.") from None
    raise NotFound(f"'{asked}' has no replicas, and so no logs.")


def _stop(session: Session, name: str, versions: Iterable[str | int]) -> Steps[None]:
    for version in versions:
        yield from update_model_version(session, name, version, wanted=False)


def _target_version(session: Session, name: str) -> Steps[str]:
    info = yield from get_model_info(session, name)
    version = info["target"] or info["current"]
    if version is None:
        raise UnknownVersion(f"Model '{name}' has no current version; name the version.")
    return str(version)


def _several(values: Iterable[Any]) -> list[Any]:
    """A lone name is taken for one name, not for its letters."""
    return [values] if isinstance(values, str) else list(values)
