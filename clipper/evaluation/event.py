"""A logged feedback as the evaluation sees it: models by name, and what is known about each."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from clipper.feedback import FeedbackRecord

CERTAIN = 1.0 - 1e-9
"""A choice with this probability left none to the others."""


class Event(msgspec.Struct, frozen=True):
    """One decision, or one labelled input, with regard to the models that are evaluated.

    ``arms`` could have been chosen, ``supported`` are those of them that had a chance to be. ``losses`` are what the
    models that were asked would teach a policy. ``earned`` is what the caller got, or would have got, from each: the
    same, but for a model that was chosen and raised or came too late, whose caller got the default output.
    ``propensities`` go with ``earned``; ``outputs`` are those that are known of the models with ``losses``. ``drawn``
    says that one model was drawn among several; ``complete`` that every one of ``arms`` was asked, whatever came of it;
    ``informs_all`` that this is feedback by input, from which every policy would have learnt all there is.
    """

    uid: str | None
    arms: tuple[str, ...]
    supported: frozenset[str]
    losses: Mapping[str, float]
    earned: Mapping[str, float]
    propensities: Mapping[str, float]
    outputs: Mapping[str, Any]
    label: Any
    answer_loss: float | None
    drawn: bool
    complete: bool
    informs_all: bool


def event_of(record: FeedbackRecord, arms: Collection[str]) -> Event | None:
    """The record, with regard to those models; None where it says nothing about them.

    So it is where none of them was there to be chosen, and where one was drawn and nobody knows what came of it. A
    model's versions count as one model: what a version has earned is what its model has.
    """
    asked = [model_of(arm) for arm in record.arms]
    drawn = any(p < CERTAIN for p in record.propensities)
    eligible = _eligible(record, arms, drawn)
    known = tuple(arm for arm in arms if arm in eligible)
    losses = {a: loss for a, loss in zip(asked, record.losses, strict=True) if loss is not None and a in known}
    answer_loss = None if record.full_information else record.answer_loss
    failed = len(asked) == 1 and asked[0] in known and (not losses or _has_no_output(record))
    earned = {asked[0]: answer_loss} if failed and answer_loss is not None else losses
    if not known or (drawn and not earned and not set(asked).isdisjoint(known)):
        return None
    propensities = dict(zip(asked, record.propensities, strict=True))
    outputs = dict(zip(asked, record.outputs, strict=True))
    return Event(
        uid=record.uid,
        arms=known,
        supported=frozenset(known if drawn else earned),
        losses=losses,
        earned=earned,
        propensities={arm: propensities[arm] for arm in earned},
        outputs={} if _has_no_output(record) else {arm: outputs[arm] for arm in losses},
        label=record.label,
        answer_loss=answer_loss,
        drawn=drawn,
        complete=not drawn and set(known) <= set(asked),
        informs_all=record.full_information,
    )


def _has_no_output(record: FeedbackRecord) -> bool:
    """Whether the one model that was asked raised or was late, so that the default answered."""
    return record.default and record.outputs == (None,)


def model_of(arm: str) -> str:
    """``svm`` of ``svm:2``."""
    return arm.partition(":")[0]


def _eligible(record: FeedbackRecord, arms: Collection[str], drawn: bool) -> Collection[str]:
    """A policy that draws counts the feedback for each arm that it could have drawn; others do not say who they are."""
    counted = {model_of(arm) for arm in record.change} if drawn else set()
    return counted if len(counted) > 1 else arms
