"""What is in a feedback log, counted."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from clipper.feedback import FeedbackRecord
from clipper.metrics import Histogram
from clipper.selection.equality import key_of

Period = Literal["hour", "day"]
PERIOD_S: Mapping[Period, int] = {"hour": 3600, "day": 86_400}
MAX_DIGESTS = 1_000_000
"""Input digests that are remembered; repeats among later ones are not found."""
_DELAY_BOUNDS_S = tuple(float(10 ** (i / 4)) for i in range(-12, 29))


class Losses(msgspec.Struct):
    """How often a loss is known, and their sum."""

    count: int = 0
    total: float = 0.0

    def add(self, loss: float) -> None:
        """One more."""
        self.count += 1
        self.total += loss

    @property
    def mean(self) -> float | None:
        """None without any."""
        return self.total / self.count if self.count else None


class ModelStatistics(msgspec.Struct):
    """One version of a model: how often it was asked, what it lost, and with which probability it was asked."""

    asked: int = 0
    losses: Losses = msgspec.field(default_factory=Losses)
    least_propensity: float = 1.0
    inverse_propensities: float = 0.0

    @property
    def missing(self) -> int:
        """Times that nobody knows what it lost: an ensemble's member was late, or its output is not kept any more."""
        return self.asked - self.losses.count


class PeriodStatistics(msgspec.Struct):
    """One hour or day (UTC), starting at ``begins_at``."""

    begins_at: float
    feedbacks: int = 0
    answers: Losses = msgspec.field(default_factory=Losses)
    models: dict[str, Losses] = {}


class LogStatistics:
    """Takes the log of an application, oldest first. Memory is bounded by models, periods and `MAX_DIGESTS`.

    ``unanimous`` and ``divided`` are the answers where at least two models' outputs are known and all, or not all, of
    them are equal; ``repeated_inputs`` counts feedbacks on an input that had one before.
    """

    def __init__(self, period: Period = "day") -> None:
        self.feedbacks = 0
        self.by_input = 0
        self.defaults = 0
        self.repeated_inputs = 0
        self.with_uid = 0
        self.first_at = math.inf
        self.last_at = -math.inf
        self.policies: Counter[str] = Counter()
        self.answers = Losses()
        self.unanimous = Losses()
        self.divided = Losses()
        self.models: dict[str, ModelStatistics] = {}
        self.periods: dict[float, PeriodStatistics] = {}
        self.delay_s = Histogram(_DELAY_BOUNDS_S)
        self._period_s = PERIOD_S[period]
        self._digests: set[bytes] = set()

    def add(self, record: FeedbackRecord) -> None:
        """One more feedback."""
        self.feedbacks += 1
        self.by_input += record.full_information
        self.defaults += record.default
        self.with_uid += record.uid is not None
        self.policies[record.policy] += 1
        self.first_at = min(self.first_at, record.accepted_at)
        self.last_at = max(self.last_at, record.accepted_at)
        if not record.full_information:
            self.delay_s.observe(max(0.0, record.accepted_at - record.answered_at))
        self._count_repeats(record.input_digest)
        self._count_models(record)
        self._count_answer(record)

    def _count_repeats(self, digest: bytes) -> None:
        if digest and digest in self._digests:
            self.repeated_inputs += 1
        elif digest and len(self._digests) < MAX_DIGESTS:
            self._digests.add(digest)

    def _count_models(self, record: FeedbackRecord) -> None:
        for model, loss, propensity in zip(record.models, record.losses, record.propensities, strict=True):
            it = self.models.setdefault(model, ModelStatistics())
            it.asked += 1
            it.least_propensity = min(it.least_propensity, propensity)
            it.inverse_propensities += 1.0 / propensity
            if loss is not None:
                it.losses.add(loss)

    def _count_answer(self, record: FeedbackRecord) -> None:
        begins_at = record.accepted_at // self._period_s * self._period_s
        period = self.periods.setdefault(begins_at, PeriodStatistics(begins_at))
        period.feedbacks += 1
        known = [(m, out, loss) for m, out, loss in zip(record.models, record.outputs, record.losses, strict=True)]
        keys = {key_of(output) for _, output, loss in known if loss is not None}
        several = sum(loss is not None for _, _, loss in known) > 1
        for model, _, loss in known:
            if loss is not None:
                period.models.setdefault(model, Losses()).add(loss)
        if record.answer_loss is None or record.full_information:
            return  # Nobody was answered.
        self.answers.add(record.answer_loss)
        period.answers.add(record.answer_loss)
        if several:
            (self.unanimous if len(keys) == 1 else self.divided).add(record.answer_loss)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "feedbacks": self.feedbacks,
            "by_input": self.by_input,
            "defaults": self.defaults,
            "with_uid": self.with_uid,
            "repeated_inputs": self.repeated_inputs,
            "first_at": self.first_at if self.feedbacks else None,
            "last_at": self.last_at if self.feedbacks else None,
            "policies": dict(self.policies),
            "delay_s": {f"p{round(q * 100)}": self.delay_s.quantile(q) for q in (0.5, 0.9, 0.99)},
            "answers": _losses(self.answers),
            "unanimous": _losses(self.unanimous),
            "divided": _losses(self.divided),
            "models": {
                name: {
                    "asked": it.asked,
                    "missing": it.missing,
                    "loss": it.losses.mean,
                    "least_propensity": it.least_propensity,
                    "mean_inverse_propensity": it.inverse_propensities / it.asked,
                }
                for name, it in sorted(self.models.items())
            },
            "periods": [
                {
                    "begins_at": it.begins_at,
                    "feedbacks": it.feedbacks,
                    "answers": _losses(it.answers),
                    "models": {name: _losses(losses) for name, losses in sorted(it.models.items())},
                }
                for it in self.periods.values()
            ],
        }


def _losses(losses: Losses) -> dict[str, Any]:
    return {"count": losses.count, "loss": losses.mean}
