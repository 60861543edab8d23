"""Which of a model's versions shall have its traffic: edits of the desired state, as in `clipper.control.desired`."""

from clipper.control.lookup import find_version
from clipper.deployment import Canary
from clipper.domain import Desired, Model, Version, VersionSpec
from clipper.errors import Conflict, InvalidRequest


def led_to(model: Model, spec: VersionSpec) -> Model:
    """The model with a new version: on its way to the traffic, at once or as a canary, if it is to have it.

    The first version of a model is no canary: there is nothing to compare it with.

    Raises:
        Conflict: It would be a second canary.
    """
    if not spec.promote:
        return model
    if spec.canary is None or model.target in {None, spec.version}:
        return model.model_copy(update={"target": spec.version, "canary": None})
    if model.canary not in {None, spec.version}:
        raise Conflict(
            f"The version '{model.canary}' of the model '{model.name}' is on trial. Promote it or roll it back first: "
            f"clipper promote {model.name} {model.canary}, or clipper rollback {model.name}"
        )
    return model.model_copy(update={"canary": spec.version})


def promote(
    desired: Desired, model: str, version: str, canary: Canary | None = None, *, current: str | None = None
) -> Desired:
    """Let the version have the model's traffic as soon as it is ready; a stopped one is started for that.

    With ``canary`` it gets all of it only when it has proved itself on a part. Any canary that runs is over: won, if it
    is this version, else lost. ``current`` is the version that has the model's traffic now.

    Raises:
        UnknownModel, UnknownVersion: There is none of this name.
        InvalidRequest: There is no other version to try it against.
    """
    chosen = find_version(desired, model, version)
    of_model = desired.models[model]
    if canary is None:
        desired = with_model(desired, of_model.model_copy(update={"target": version, "canary": None}))
        return with_version(desired, chosen.model_copy(update={"wanted": True}))
    if of_model.target in {None, version} or current == version:
        raise InvalidRequest(
            f"The version '{version}' cannot be tried as a canary: no other version has the traffic of the model "
            f"'{model}'."
        )
    spec = chosen.spec.model_copy(update={"canary": canary, "promote": True})
    desired = with_model(desired, of_model.model_copy(update={"canary": version}))
    return with_version(desired, chosen.model_copy(update={"wanted": True, "spec": spec}))


def conclude_canary(desired: Desired, version: Version, *, won: bool) -> Desired:
    """Give the canary the traffic, or stop trying it; nothing changes where it is none any more."""
    model = desired.models.get(version.model)
    if model is None or model.canary != version.spec.version:
        return desired
    there = desired.version(*version.key)
    if there is None or there.generation != version.generation:
        return desired
    target = model.canary if won else model.target
    return with_model(desired, model.model_copy(update={"target": target, "canary": None}))


def with_model(desired: Desired, model: Model) -> Desired:
    """The state with this model in place of the one of its name."""
    return desired.model_copy(update={"models": {**desired.models, model.name: model}})


def with_version(desired: Desired, version: Version) -> Desired:
    """The state with this version in place of the one of its name."""
    siblings = {**desired.versions.get(version.model, {}), version.spec.version: version}
    return desired.model_copy(update={"versions": {**desired.versions, version.model: siblings}})
