"""How an application's policy chooses among its models, and why: what feedback has taught it."""

import time
from collections.abc import Mapping

from fastapi import APIRouter

from clipper.control.lookup import find_application
from clipper.domain import Application
from clipper.engine.contexts import Contexts
from clipper.engine.distribution import Distribution
from clipper.engine.held import HeldEvidence
from clipper.evidence import Evidence
from clipper.feedback import ContextKey
from clipper.selection import Policy, policy_named
from clipper_frontends.rest.admin.context import Context
from clipper_frontends.rest.admin.measurements import measured_versions
from clipper_frontends.rest.admin.schemas import Choice, Selection
from clipper_frontends.rest.admin.views import current_version

router = APIRouter(prefix="/apps", tags=["feedback"])

ONE_USER_BYTES = 1 << 30
"""A bound that one user never reaches."""

Versions = Mapping[str, str | None]
"""The current version of each linked model."""


@router.get("/{app}/selection")
async def get_selection(context: Context, app: str, uid: str | None = None) -> Selection:
    """How the application's policy chooses among its models now, for everyone or for one user."""
    snapshot = await context.store.snapshot()
    application = find_application(snapshot.desired, app)
    generation = snapshot.desired.generations.get(app, 0)
    wanted: list[ContextKey] = [(app, generation, "")] + ([(app, generation, uid)] if uid else [])
    evidence = await context.feedback.evidence(wanted)
    measured = measured_versions(context)
    versions = {model: current_version(snapshot, model, measured) for model in application.models}
    return selection_of(application, generation, versions, evidence, uid or None)


def selection_of(
    application: Application,
    generation: int,
    versions: Versions,
    evidence: Mapping[ContextKey, Evidence],
    uid: str | None,
) -> Selection:
    """What the policy makes of the evidence. Pure."""
    policy = policy_named(application.policy.name, application.policy.options)
    arms = {_arm(policy, model, version): (model, version) for model, version in versions.items()}
    key = (application.name, generation)
    distribution = _distribution(policy, key, tuple(arms), evidence, uid)
    own = evidence.get((*key, uid or ""), Evidence())
    state = own.present()
    return Selection(
        application=application.name,
        policy=policy.name,
        options=application.policy.options,
        uid=uid,
        feedbacks=own.n,
        half_life_feedbacks=policy.half_life_feedbacks,
        fault=distribution.fault.message if distribution.fault is not None else None,
        models=[
            _choice(policy, arm, *named, weight=distribution.weights.get(arm), sums=state.get(arm, {}))
            for arm, named in arms.items()
        ],
    )


def _arm(policy: Policy, model: str, version: str | None) -> str:
    return model if policy.new_version == "inherit" or version is None else f"{model}:{version}"


def _distribution(
    policy: Policy,
    application: tuple[str, int],
    arms: tuple[str, ...],
    evidence: Mapping[ContextKey, Evidence],
    uid: str | None,
) -> Distribution:
    """As a frontend that holds just this evidence would make it."""
    held = HeldEvidence(ONE_USER_BYTES)
    held.put(evidence)
    contexts = Contexts(application, policy, arms, held, time.monotonic)
    if uid is not None:
        held.put_unknown([contexts.context_of(uid)])
    return contexts.distribution(uid) or contexts.shared()


def _choice(
    policy: Policy, arm: str, model: str, version: str | None, *, weight: float | None, sums: Mapping[str, float]
) -> Choice:
    plays, lost = sums.get("plays", 0.0), sums.get("loss", 0.0)
    return Choice(
        model=model,
        version=version,
        arm=arm,
        weight=weight,
        probability=1.0 if policy.is_ensemble else weight,
        eligible=sums.get("eligible", 0.0),
        plays=plays,
        mean_loss=lost / plays if plays > 0 else None,
        sums=dict(sums),
    )
