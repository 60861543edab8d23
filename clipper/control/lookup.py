"""Finding things in the desired state, with the error that names what is not there."""

from clipper.deployment import ReplicaRange
from clipper.domain import Application, Desired, Model, Observed, Version
from clipper.errors import UnknownApplication, UnknownModel, UnknownVersion
from clipper.tensors import Tensor


def find_application(desired: Desired, name: str) -> Application:
    """The application of this name, or `UnknownApplication`."""
    try:
        return desired.applications[name]
    except KeyError:
        raise UnknownApplication(f"There is no application '{name}'.") from None


def find_model(desired: Desired, name: str) -> Model:
    """The model of this name, or `UnknownModel`."""
    try:
        return desired.models[name]
    except KeyError:
        raise UnknownModel(f"There is no model '{name}'.") from None


def find_version(desired: Desired, model: str, version: str) -> Version:
    """The version of this name, or `UnknownModel` or `UnknownVersion`."""
    find_model(desired, model)
    found = desired.version(model, version)
    if found is None:
        known = ", ".join(desired.versions.get(model, {})) or "none"
        raise UnknownVersion(f"The model '{model}' has no version '{version}' (versions: {known}).")
    return found


def replicas_wanted(version: Version, observed: Observed) -> int:
    """How many replicas the version shall have while it runs: as many as it says, or as it was scaled to."""
    replicas = version.spec.replicas
    if not isinstance(replicas, ReplicaRange):
        return replicas
    status = observed.statuses.get(version.model, {}).get(version.spec.version)
    scaled = status is not None and status.generation == version.generation and status.scale is not None
    return replicas.clamp(status.scale.replicas if scaled and status and status.scale else replicas.min)


def stillborn_generation(observed: Observed, model: str, version: str) -> int | None:
    """The generation of a version that failed before it ever had the traffic: nothing can depend on it yet."""
    status = observed.statuses.get(model, {}).get(version)
    had_the_traffic = version in {observed.current.get(model), *observed.previous.get(model, ())}
    return status.generation if status is not None and status.state == "failed" and not had_the_traffic else None


def applications_of(desired: Desired, model: str) -> list[str]:
    """The names of the applications that link the model."""
    return [app.name for app in desired.applications.values() if model in app.models]


Taken = tuple[str, tuple[Tensor, ...]]
"""An input type, and its tensors where it is ``tensors``."""


def taken_by(desired: Desired, model: str) -> Taken | None:
    """What the versions of the model take, all the same; None while it has none."""
    specs = (version.spec for version in desired.versions.get(model, {}).values())
    return next(((spec.input_type, spec.inputs) for spec in specs), None)
