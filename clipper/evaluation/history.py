"""How weights and errors went over time, rebuilt from the feedback log."""

from collections.abc import Sequence

import msgspec

from clipper.errors import PolicyFailed
from clipper.evaluation.event import CERTAIN, model_of
from clipper.evidence import Evidence, State
from clipper.feedback import FeedbackRecord
from clipper.selection import Policy
from clipper.selection.learning import state_of_user

MAX_POINTS = 512


class Point(msgspec.Struct, frozen=True):
    """After so many feedbacks: the weights of the models in their order, and every mean loss so far.

    The loss of a model that is asked only now and then is estimated from those times (self-normalised by its
    propensities); None before the first. ``answered`` is of the answers.
    """

    feedbacks: int
    accepted_at: float
    weights: tuple[float, ...]
    losses: tuple[float | None, ...]
    answered: float | None


class History:
    """Takes the log of an application, oldest first, and keeps at most `MAX_POINTS` points, evenly spread over it.

    With a ``uid`` the weights are that user's, started from everybody's, and the losses those of that user's feedbacks.
    Evidence from before the log's begin is not in it.
    """

    def __init__(self, policy: Policy, models: Sequence[str], uid: str | None = None) -> None:
        self.models = tuple(models)
        self.uid = uid
        self.points: list[Point] = []
        self._policy = policy
        self._shared = Evidence()
        self._own = Evidence()
        self._losses = {model: _WeightedMean() for model in models}
        self._answered = _WeightedMean()
        self._feedbacks = 0
        self._stride = 1

    def add(self, record: FeedbackRecord) -> None:
        """One more feedback, accepted after those before."""
        change = _by_model(record)
        self._shared.add(change, record.half_life_feedbacks)
        if self.uid is not None:
            if record.uid != self.uid:
                return
            self._own.add(change, record.half_life_feedbacks)
        self._feedbacks += 1
        self._count_losses(record)
        if self._feedbacks % self._stride == 0:
            self._keep(record.accepted_at)

    def _count_losses(self, record: FeedbackRecord) -> None:
        for arm, loss, propensity in zip(record.arms, record.losses, record.propensities, strict=True):
            mean = self._losses.get(model_of(arm))
            if mean is not None and loss is not None:
                mean.add(loss, 1.0 if propensity >= CERTAIN else 1.0 / propensity)
        if record.answer_loss is not None and not record.full_information:
            self._answered.add(record.answer_loss, 1.0)

    def _keep(self, accepted_at: float) -> None:
        try:
            weights = tuple(self._policy.distribution(self.models, self._state()))
        except Exception as error:  # noqa: BLE001  # a user's policy may raise anything
            name = self._policy.name
            raise PolicyFailed(
                f"The policy '{name}' raised in distribution(): {type(error).__name__}: {error}"
            ) from None
        losses = tuple(self._losses[model].mean for model in self.models)
        self.points.append(Point(self._feedbacks, accepted_at, weights, losses, self._answered.mean))
        if len(self.points) == MAX_POINTS:
            del self.points[::2]
            self._stride *= 2

    def _state(self) -> State:
        shared = self._shared.present()
        if self.uid is None:
            return shared
        return state_of_user(self._own.present(), shared, self._policy.prior_feedbacks)


class _WeightedMean:
    __slots__ = ("_total", "_weight")

    def __init__(self) -> None:
        self._weight = 0.0
        self._total = 0.0

    def add(self, value: float, weight: float) -> None:
        self._weight += weight
        self._total += weight * value

    @property
    def mean(self) -> float | None:
        return self._total / self._weight if self._weight else None


def _by_model(record: FeedbackRecord) -> dict[str, dict[str, float]]:
    """The logged change; arms that are versions count for their model."""
    merged: dict[str, dict[str, float]] = {}
    for arm, sums in record.change.items():
        mine = merged.setdefault(model_of(arm), {})
        for name, value in sums.items():
            mine[name] = mine.get(name, 0.0) + value
    return merged
