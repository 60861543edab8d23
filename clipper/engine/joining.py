"""Feedback joined with what it is about: the record to be logged, with the change that the policy makes of it."""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from clipper.engine.application import ServedApplication
from clipper.engine.combination import combined
from clipper.engine.outputs import ANSWER
from clipper.engine.scoring import Scores
from clipper.engine.token import NO_OUTPUT, Claims
from clipper.engine.update import Update
from clipper.errors import InvalidLabel, PolicyFailed
from clipper.feedback import FeedbackRecord
from clipper.selection.policy import Observation

log = logging.getLogger(__name__)

_UPDATE_ID_BYTES = 16
_WORST_LOSS = 1.0

_decode = msgspec.json.decode
_encode = msgspec.msgpack.encode


class Asked(msgspec.Struct, frozen=True):
    """The models behind one piece of feedback.

    ``arms``, ``models`` (``model:version``), ``propensities`` and ``outputs`` (JSON; None: not known; empty: the model
    raised or was late, so that the default answered) go together.
    ``eligible`` are the arms that could have been chosen. ``answer`` is the JSON that the application answered with,
    None where it gave none.
    """

    arms: Sequence[str]
    models: Sequence[str]
    propensities: Sequence[float]
    outputs: Sequence[bytes | None]
    eligible: Sequence[str]
    answer: bytes | None


def asked_by(claims: Claims, kept: Mapping[str, bytes], eligible: Sequence[str]) -> Asked:
    """What a query asked, by its id; what the id does not hold may have been ``kept`` (by ``model:version``).

    What neither has is not known, and nothing is made up in its place. ``eligible`` counts where the id does not say.
    """
    outputs = [
        kept.get(model) if output is None else output
        for model, output in zip(claims.models, claims.outputs, strict=True)
    ]
    answer = kept.get(ANSWER) if claims.answer is None else claims.answer
    is_the_output = answer is None and len(outputs) == 1 and not claims.default
    return Asked(
        claims.arms,
        claims.models,
        claims.propensities,
        outputs,
        eligible if claims.eligible is None else claims.eligible,
        outputs[0] if is_the_output else answer,
    )


def asked_afterwards(app: ServedApplication, scores: Scores, uid: str | None) -> Asked:
    """What all models say to an input, and what the application would answer now; None where it would draw one."""
    arms = tuple(scores)
    models = [model for model, _ in scores.values()]
    outputs = [output for _, output in scores.values()]
    answer = _combined(app, scores, uid) if app.policy.is_ensemble else outputs[0] if len(outputs) == 1 else None
    return Asked(arms, models, (1.0,) * len(arms), outputs, arms, answer)


def _combined(app: ServedApplication, scores: Scores, uid: str | None) -> bytes | None:
    outputs = {arm: output for arm, (_, output) in scores.items() if output is not None}
    if not outputs:
        return None
    distribution = app.contexts.distribution(uid) or app.contexts.shared()
    try:
        output, _ = combined(app.policy, app.loss, outputs, distribution)
    except PolicyFailed as fault:
        log.warning("Feedback for application %s is logged without an answer: %s", app.name, fault)
        return None
    return output


def feedback_by_query(
    app: ServedApplication, claims: Claims, asked: Asked, update: Update, *, row: bytes | None, now: float
) -> FeedbackRecord:
    """The record of feedback on a query. ``row`` is its input where that is known and shall be logged.

    Raises:
        InvalidLabel: The label can be compared with none of the outputs.
    """
    keeps = app.definition.log_inputs
    return _record(
        app,
        asked,
        update.label,
        feedback_id=claims.nonce,
        accepted_at=now,
        answered_at=claims.answered_at,
        full_information=False,
        uid=claims.uid,
        query_id=update.query_id,
        default=claims.default,
        input_digest=claims.input_digest if keeps != "none" else b"",
        input=row if keeps == "full" else None,
    )


def feedback_by_input(
    app: ServedApplication, asked: Asked, update: Update, *, feedback_id: bytes, digest: bytes, now: float
) -> FeedbackRecord:
    """The record of feedback on an input, which every model has been asked about afterwards.

    Raises:
        InvalidLabel: The label can be compared with none of the outputs.
    """
    keeps = app.definition.log_inputs
    return _record(
        app,
        asked,
        update.label,
        feedback_id=feedback_id,
        accepted_at=now,
        answered_at=now,
        full_information=True,
        uid=update.uid,
        input_digest=digest if keeps != "none" else b"",
        input=update.row if keeps == "full" else None,
    )


def id_of_update(application: str, generation: int, update_id: str) -> bytes:
    """The identity of feedback that its sender has named: the same name is the same feedback, in one application."""
    named = f"{application}\0{generation}\0{update_id}"
    return hashlib.blake2b(named.encode("utf-8", "surrogatepass"), digest_size=_UPDATE_ID_BYTES).digest()


def _check_storable(label: Any) -> None:
    """Refuse what the log cannot hold here, where one label costs only itself, and not in the store.

    Raises:
        InvalidLabel: It has an integer of more than 64 bits, or is too deep.
    """
    try:
        _encode(label)
    except OverflowError:
        raise InvalidLabel(
            "The label has an integer that does not fit into 64 bits, from -2^63 to 2^64 - 1; send it as a float."
        ) from None
    except RecursionError:
        raise InvalidLabel("The label is nested too deeply to be kept; send a flatter one.") from None


def _record(app: ServedApplication, asked: Asked, label: Any, **identity: Any) -> FeedbackRecord:
    _check_storable(label)
    said = dict(zip(asked.arms, asked.outputs, strict=True))
    known = {arm: _decode(output) for arm, output in said.items() if output}
    losses = app.loss.of_all(known, label) if known else {}
    losses |= {arm: _WORST_LOSS for arm, output in said.items() if output == NO_OUTPUT}
    answer = None if asked.answer is None else _decode(asked.answer)
    return FeedbackRecord(
        application=app.name,
        generation=app.generation,
        policy=app.policy_name,
        models=tuple(asked.models),
        arms=tuple(asked.arms),
        propensities=tuple(asked.propensities),
        outputs=tuple(known.get(arm) for arm in asked.arms),
        losses=tuple(losses.get(arm) for arm in asked.arms),
        label=label,
        change=_change(app, asked, losses),
        half_life_feedbacks=app.policy.half_life_feedbacks,
        answer=answer,
        answer_loss=None if asked.answer is None else app.loss.of(answer, label),
        **identity,
    )


def _change(app: ServedApplication, asked: Asked, losses: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """What the policy makes of it; nothing where it fails: the label is logged all the same."""
    propensities = {arm: p for arm, p in zip(asked.arms, asked.propensities, strict=True) if arm in losses}
    try:
        change = app.policy.observe(Observation(asked.eligible, losses, propensities))
        return {_name(arm): {_name(name): _finite(v) for name, v in sums.items()} for arm, sums in change.items()}
    except Exception:
        # A user's code, perhaps.
        log.exception("The policy of application %s could not observe feedback, and learns nothing of it.", app.name)
        return {}


def _name(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a change of {key!r}, which is no name, could not be read again")
    return key


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a change by {value} would spoil the sum for ever")
    return float(value)
