"""What all policies that learn have in common: their options, the sums they keep, and what a feedback adds to them.

Every built-in policy keeps the same sums of each arm, so that an application that changes its policy keeps what it has
learnt:

======================  ==================================================================
``eligible``            feedbacks in which the arm could have been chosen
``plays``               feedbacks in which its output, and so its loss, was known
``loss``                the sum of those losses
``weighted_loss``       the sum of loss / propensity: an estimate, without bias, of the loss over all that was eligible
======================  ==================================================================
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from clipper.evidence import Change, State, with_prior
from clipper.frozen import Frozen, Number
from clipper.selection.losses import Loss
from clipper.selection.policy import Observation

MAX_FEEDBACKS = 1e9
"""An upper bound for options that count feedbacks."""

MIN_PROPENSITY = 1e-9
"""What is rarer counts as this rare: 10 million such losses still add up to an exact float."""

HalfLife = Annotated[Number, Field(ge=1, le=MAX_FEEDBACKS)]
Share = Annotated[Number, Field(ge=0, le=1)]


class LearningPolicy(Frozen, ABC):
    """A policy with the options that all of them take. Its fields are its options; a subclass adds its own.

    What a subclass must have is a ``name`` and a ``distribution``.
    """

    name: ClassVar[str]
    max_models: ClassVar[int | None] = None
    is_ensemble: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    sticky: ClassVar[bool] = False

    half_life_feedbacks: HalfLife | None = 400.0
    prior_feedbacks: Annotated[Number, Field(ge=0, le=MAX_FEEDBACKS)] = 10.0
    new_version: Literal["inherit", "restart"] = "inherit"

    @abstractmethod
    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:
        """The probability, or weight, of each arm."""

    def combine(self, outputs: Mapping[str, Any], weights: Mapping[str, float], loss: Loss) -> tuple[Any, float]:  # noqa: ARG002  # the protocol's shape
        """The answer of the one arm that was chosen."""
        (output,) = outputs.values()
        return output, 1.0

    def observe(self, observation: Observation) -> Change:
        """Count the feedback for every arm that it says something about."""
        return observed(observation)


def observed(observation: Observation) -> dict[str, dict[str, float]]:
    """What one feedback adds to the sums that all built-in policies share.

    Where one arm was drawn, the others could have been: a feedback counts for them too, with an estimated loss of 0.
    Where every known loss had a propensity of 1 (an ensemble, feedback by input), an arm without a loss is one whose
    output did not come: nothing is said about it, and it must not look as if it had been right.
    """
    drawn = any(observation.propensities[arm] < 1.0 for arm in observation.losses)
    change = {arm: {"eligible": 1.0} for arm in (observation.arms if drawn else observation.losses)}
    for arm, loss in observation.losses.items():
        propensity = max(observation.propensities[arm], MIN_PROPENSITY)
        bounded = min(1.0, max(0.0, loss))
        change[arm] = {"eligible": 1.0, "plays": 1.0, "loss": bounded, "weighted_loss": bounded / propensity}
    return change


def sums_of(arms: Sequence[str], state: State, name: str) -> list[float]:
    """One sum of each arm, in their order; 0 for an arm without feedback, and never below."""
    return [max(0.0, state.get(arm, {}).get(name, 0.0)) for arm in arms]


def mean_losses(arms: Sequence[str], state: State) -> list[float]:
    """The mean loss of each arm over its plays; 0, the best there is, for one that was never seen."""
    sums = zip(sums_of(arms, state, "loss"), sums_of(arms, state, "plays"), strict=True)
    return [min(1.0, lost / plays) if plays > 0.0 else 0.0 for lost, plays in sums]


def state_of_user(own: State, shared: State, prior_feedbacks: float) -> State:
    """What is known about the arms for one user: their own feedback, and everybody's as if it were a few.

    The shared sums are scaled so that they stand for at most ``prior_feedbacks``. As they are, they would drown a user,
    who had to contradict as many feedbacks as all others ever gave.
    """
    known = max((sums.get("eligible", 0.0) for sums in shared.values()), default=0.0)
    return with_prior(own, shared, min(1.0, prior_feedbacks / known) if known > 0.0 else 1.0)


def uniform(count: int) -> list[float]:
    """The same share for each."""
    return [1.0 / count] * count


def mixed(probabilities: Sequence[float], exploration: float) -> list[float]:
    """Take ``exploration`` of the queries for all arms alike: none has less than its part of that."""
    floor = exploration / len(probabilities)
    return [(1.0 - exploration) * p + floor for p in probabilities]
