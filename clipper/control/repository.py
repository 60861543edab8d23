"""Loading and unloading models as the Open Inference Protocol has it: edits of the desired state, as in `desired`."""

from clipper.control.desired import promote, stop_model, stop_version
from clipper.control.lookup import find_model, find_version
from clipper.domain import Desired, Observed
from clipper.errors import Conflict, InvalidRequest


def version_to_load(desired: Desired, observed: Observed, model: str, version: str | None = None) -> str:
    """Which version of a model is meant by loading it.

    It is ``version`` where one is named; else the one that has the traffic or is to have it; of a model that was
    unloaded the one that had it last, and of one that never had any the newest.

    Raises:
        UnknownModel, UnknownVersion: There is none of this name.
        InvalidRequest: The name is an application's.
        Conflict: There is no version, or it is scaled to no replicas.
    """
    refuse_application(desired, model)
    chosen = version or _version_of_choice(desired, observed, model)
    if find_version(desired, model, chosen).spec.replicas == 0:
        raise Conflict(
            f"The version '{chosen}' of the model '{model}' is scaled to 0 replicas; scale it up over the admin port: "
            f"clipper scale {model}:{chosen} 1"
        )
    return chosen


def _version_of_choice(desired: Desired, observed: Observed, model: str) -> str:
    target = find_model(desired, model).target
    versions = desired.versions.get(model, {})
    for name in (target, observed.current.get(model), *observed.previous.get(model, ())):
        if name is not None and name in versions:
            return name
    if not versions:
        raise Conflict(f"The model '{model}' has no version; deploy one over the admin port (clipper deploy).")
    return max(versions.values(), key=lambda version: version.generation).spec.version


def load(desired: Desired, model: str, version: str) -> Desired:
    """Let the version have the model's traffic as soon as it is ready. One that has it already, or is to, keeps it.

    A canary that runs beside it goes on, which a promotion would end.

    Raises:
        UnknownModel, UnknownVersion: There is none of this name.
    """
    there = find_version(desired, model, version)
    if there.wanted and desired.models[model].target == version:
        return desired
    return promote(desired, model, version)


def unload(desired: Desired, model: str, version: str | None = None) -> Desired:
    """Stop the version; without one, every version of the model.

    Raises:
        UnknownModel, UnknownVersion: There is none of this name.
        InvalidRequest: The name is an application's.
    """
    refuse_application(desired, model)
    return stop_model(desired, model) if version is None else stop_version(desired, model, version)


def refuse_application(desired: Desired, name: str) -> None:
    """Applications are asked by the protocol like models, and are none.

    Raises:
        InvalidRequest: There is an application of this name, and no model.
    """
    if name in desired.applications and name not in desired.models:
        linked = ", ".join(desired.applications[name].models) or "none"
        raise InvalidRequest(
            f"'{name}' is an application; models are loaded and unloaded, by their own names (it links {linked})."
        )
