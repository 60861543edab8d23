"""Every change that users can make, as pure functions: the desired state in, a new one out, or an error and no change.

What always holds afterwards (``tests/control/test_desired.py`` checks it over arbitrary sequences of edits):

* every linked model exists, and its versions take the input type of every application that links it;
* the versions of one model all take the same input type;
* an application under a policy that serves one model links at most one;
* a model's target and its canary exist, are wanted and are not the same.

A patch replaces each field that it names as a whole; fields that it does not name stay as they are.
"""

from collections.abc import Mapping
from typing import Any

from clipper.control.agreement import agreed_with_manifest
from clipper.control.inputs import check_application_takes, check_version_takes, with_inputs_of_models
from clipper.control.lookup import applications_of, find_application, find_model, find_version
from clipper.control.traffic import led_to, promote, with_model, with_version
from clipper.domain import Application, Desired, Model, Version, VersionSpec
from clipper.errors import (
    AlreadyExists,
    InvalidRequest,
    PolicyTakesOneModel,
    StillInUse,
    UnknownModel,
)
from clipper.selection import policy_named
from clipper.validation import validated

__all__ = [
    "create_application",
    "create_version",
    "delete_application",
    "delete_model",
    "delete_version",
    "link",
    "patch_application",
    "patch_model",
    "patch_version",
    "promote",
    "refuse_existing_version",
    "stop_model",
    "stop_version",
    "unlink",
]

PATCHABLE_APPLICATION_FIELDS = frozenset(
    "input_type inputs outputs slo_ms default_output policy models min_confidence loss loss_range log_inputs".split()  # noqa: SIM905  # shorter
)
PATCHABLE_MODEL_FIELDS = frozenset({"keep_warm"})
PATCHABLE_VERSION_FIELDS = frozenset({"replicas", "batching", "caching", "limits"})


def create_application(desired: Desired, application: Application, generation: int = 0) -> Desired:
    """Add ``application``; ``generation`` is the store's revision of this change.

    Raises:
        AlreadyExists: There is one of this name.
        UnknownModel, InputTypeMismatch, PolicyTakesOneModel: Of its links.
        InvalidRequest: There is no such policy, or it does not take these options.
    """
    if application.name in desired.applications:
        raise AlreadyExists(
            f"The application '{application.name}' exists. Change or delete that one, or choose another name."
        )
    added = _with_application(desired, application)
    return added.model_copy(update={"generations": {**desired.generations, application.name: generation}})


def patch_application(desired: Desired, name: str, patch: Mapping[str, Any]) -> Desired:
    """Replace the fields of the application that ``patch`` names; ``"default_output": null`` is a default of null.

    Raises:
        UnknownApplication: There is none of this name.
        InvalidRequest: A field is unknown, cannot be changed, or has a value out of range.
        UnknownModel, InputTypeMismatch, PolicyTakesOneModel: Of its links.
    """
    old = find_application(desired, name)
    _refuse_other_fields(patch, PATCHABLE_APPLICATION_FIELDS, f"the application '{name}'")
    return _with_application(desired, validated(Application, old.to_json() | dict(patch), f"the application '{name}'"))


def delete_application(desired: Desired, name: str) -> Desired:
    """Remove the application; its models stay.

    Raises:
        UnknownApplication: There is none of this name.
    """
    find_application(desired, name)
    return desired.model_copy(
        update={
            "applications": _without(desired.applications, name),
            "generations": _without(desired.generations, name),
        }
    )


def link(desired: Desired, application: str, model: str) -> Desired:
    """Let the application use the model; linking again changes nothing.

    Raises:
        UnknownApplication, UnknownModel: There is none of this name.
        InputTypeMismatch: They take different inputs.
        PolicyTakesOneModel: It is linked to another model, and its policy serves one.
    """
    app = find_application(desired, application)
    find_model(desired, model)
    return desired if model in app.models else _relink(desired, app, (*app.models, model))


def unlink(desired: Desired, application: str, model: str) -> Desired:
    """Let the application no longer use the model.

    Raises:
        UnknownApplication: There is none of this name.
        UnknownModel: It does not link this model.
    """
    app = find_application(desired, application)
    if model not in app.models:
        linked = ", ".join(app.models) or "none"
        raise UnknownModel(f"The application '{application}' does not link the model '{model}' (linked: {linked}).")
    return _relink(desired, app, tuple(name for name in app.models if name != model))


def create_version(
    desired: Desired,
    model: str,
    spec: VersionSpec,
    *,
    generation: int,
    digest: str | None,
    manifest: Mapping[str, Any],
    now: float,
    replaceable: int | None = None,
    current: str | None = None,
) -> Desired:
    """Add a version, and the model when it is the first one; ``spec.promote`` makes it the model's target.

    Args:
        desired: What is wanted so far.
        model: The model's name.
        spec: What the engineer said. A flavor or method that was not given is taken from the manifest.
        generation: The store's revision of this change: never the same for two versions.
        digest: The artifact's; None for the flavor ``noop``, which needs none.
        manifest: The artifact's.
        now: Seconds since the epoch.
        replaceable: The generation of a version of this name that came to nothing, whose place this one may take.
        current: The version that has the model's traffic now.

    Raises:
        AlreadyExists: The model has another version of this name.
        InputTypeMismatch: The manifest, another version or a linked application takes another input.
        InvalidRequest: The spec contradicts the manifest, or there is no artifact.
    """
    refuse_existing_version(desired, model, spec.version, replaceable=replaceable)
    if desired.version(model, spec.version) is not None:
        desired = _without_traffic(desired, model, spec.version, current)
        desired = desired.model_copy(
            update={"versions": {**desired.versions, model: _without(desired.versions[model], spec.version)}}
        )
    spec = agreed_with_manifest(model, spec, digest, manifest)
    check_version_takes(desired, model, spec)
    fields = {"model": model, "generation": generation, "digest": digest, "manifest": dict(manifest), "created_at": now}
    version = validated(Version, {**fields, "spec": spec}, f"the version '{spec.version}'")
    return with_version(with_model(desired, led_to(desired.models.get(model) or Model(name=model), spec)), version)


def refuse_existing_version(desired: Desired, model: str, version: str, *, replaceable: int | None) -> None:
    """Make sure that a version of this name can be created.

    Raises:
        AlreadyExists: There is one, of another generation than ``replaceable``.
    """
    old = desired.version(model, version)
    if old is not None and old.generation != replaceable:
        raise AlreadyExists(
            f"The version '{version}' of the model '{model}' exists. Deploy under another version, or delete it first."
        )


def patch_version(desired: Desired, model: str, version: str, patch: Mapping[str, Any]) -> Desired:
    """Replace the fields of the version's spec that ``patch`` names.

    Threads and memory of ``limits`` apply to replicas that start afterwards, everything else at once.

    Raises:
        UnknownModel, UnknownVersion: There is none of this name.
        InvalidRequest: A field is unknown, cannot be changed, or has a value out of range.
    """
    old = find_version(desired, model, version)
    what = f"the version '{version}' of the model '{model}'"
    _refuse_other_fields(patch, PATCHABLE_VERSION_FIELDS, what)
    spec = validated(VersionSpec, old.spec.model_dump(mode="json") | dict(patch), what)
    return with_version(desired, old.model_copy(update={"spec": spec}))


def patch_model(desired: Desired, model: str, patch: Mapping[str, Any]) -> Desired:
    """Replace the fields of the model that ``patch`` names: ``keep_warm``.

    Raises:
        UnknownModel: There is none of this name.
        InvalidRequest: A field is unknown, cannot be changed, or has a value out of range.
    """
    old = find_model(desired, model)
    _refuse_other_fields(patch, PATCHABLE_MODEL_FIELDS, f"the model '{model}'")
    return with_model(desired, validated(Model, old.model_dump(mode="json") | dict(patch), f"the model '{model}'"))


def stop_version(desired: Desired, model: str, version: str, *, current: str | None = None) -> Desired:
    """Stop the version's replicas; `promote` starts it again.

    A model whose target stops has none any more, unless another version has the traffic still: that one keeps it; or
    else is tried as a canary: that one gets it.

    Args:
        desired: What is wanted so far.
        model: The model's name.
        version: The version's name.
        current: The version that has the model's traffic now.

    Raises:
        UnknownModel, UnknownVersion: There is none of this name.
    """
    old = find_version(desired, model, version)
    desired = _without_traffic(desired, model, version, current)
    return with_version(desired, old.model_copy(update={"wanted": False}))


def stop_model(desired: Desired, model: str) -> Desired:
    """Stop every version of the model.

    Raises:
        UnknownModel: There is none of this name.
    """
    find_model(desired, model)
    for version in desired.versions.get(model, {}):
        desired = stop_version(desired, model, version)
    return desired


def delete_version(desired: Desired, model: str, version: str, *, current: Mapping[str, str]) -> Desired:
    """Stop the version and forget it; the last version of a model that nobody links takes the model along.

    Args:
        desired: What is wanted so far.
        model: The model's name.
        version: The version's name.
        current: `Observed.current`, because what has the traffic now may not be what shall have it.

    Raises:
        UnknownModel, UnknownVersion: There is none of this name.
        StillInUse: An application links the model, and this version has its traffic or is to have it.
    """
    find_version(desired, model, version)
    users = applications_of(desired, model)
    if users and version in {desired.models[model].target, current.get(model)}:
        raise StillInUse(
            f"The version '{version}' has the traffic of the model '{model}', linked by the application '{users[0]}'. "
            "Promote another version or stop this one first."
        )
    desired = _without_traffic(desired, model, version, current.get(model))
    remaining = _without(desired.versions[model], version)
    if not remaining and not users:
        return delete_model(desired, model)
    return desired.model_copy(update={"versions": {**desired.versions, model: remaining}})


def delete_model(desired: Desired, model: str) -> Desired:
    """Remove the model with all its versions.

    Raises:
        UnknownModel: There is none of this name.
        StillInUse: An application links it.
    """
    find_model(desired, model)
    users = applications_of(desired, model)
    if users:
        raise StillInUse(f"The model '{model}' is linked by the application '{users[0]}'. Unlink it there first.")
    return desired.model_copy(
        update={"models": _without(desired.models, model), "versions": _without(desired.versions, model)}
    )


def _with_application(desired: Desired, app: Application) -> Desired:
    max_models = policy_named(app.policy.name, app.policy.options).max_models
    if max_models is not None and len(app.models) > max_models:
        raise PolicyTakesOneModel(
            f"The policy '{app.policy.name}' of the application '{app.name}' serves one model, not {len(app.models)} "
            f"({', '.join(app.models)}). Unlink the other first, or choose a policy that takes several."
        )
    for model in app.models:
        find_model(desired, model)
    app = with_inputs_of_models(desired, app)
    check_application_takes(desired, app)
    return desired.model_copy(update={"applications": {**desired.applications, app.name: app}})


def _relink(desired: Desired, app: Application, models: tuple[str, ...]) -> Desired:
    linked = validated(Application, {**app.to_json(), "models": models}, f"the application '{app.name}'")
    return _with_application(desired, linked)


def _without_traffic(desired: Desired, model: str, version: str, current: str | None) -> Desired:
    """Without the version as the model's target and canary; what has the traffic, if that is another one, keeps it."""
    old = desired.models[model]
    target, canary = old.target, None if old.canary == version else old.canary
    if target == version:
        keeps = desired.version(model, current or "") if current != version else None
        target = current if keeps is not None and keeps.wanted else None
        # With nobody to compare it with, the canary is all there is: it need not wait to be told so.
        target, canary = target or canary, None if target in {None, canary} else canary
    return with_model(desired, old.model_copy(update={"target": target, "canary": canary}))


def _without(mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


def _refuse_other_fields(patch: Mapping[str, Any], allowed: frozenset[str], what: str) -> None:
    for field in patch:
        if field not in allowed:
            raise InvalidRequest(f"'{field}' of {what} cannot be changed; {', '.join(sorted(allowed))} can.")
