"""A/B test: fixed shares of the users for each model."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from clipper.evidence import Change, State
from clipper.frozen import Number
from clipper.selection.learning import HalfLife, LearningPolicy, observed, uniform
from clipper.selection.policy import Observation

_LARGEST_SHARE = 1e6


class Ab(LearningPolicy):
    """Sends each model its share of the users, whatever feedback says; feedback is kept, to be compared.

    ``shares`` are by model, in any unit: {"old": 90, "new": 10}. Linked models that are not named get nothing; without
    ``shares`` all get the same. A user, told by the uid, keeps a model as long as the shares and models stay.
    """

    name: ClassVar[str] = "ab"
    sticky: ClassVar[bool] = True

    shares: dict[str, Annotated[Number, Field(ge=0, le=_LARGEST_SHARE)]] | None = None
    half_life_feedbacks: HalfLife | None = None

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:  # noqa: ARG002  # the protocol's shape
        """The shares of those that are linked."""
        wanted = [self._share_of(arm) for arm in arms]
        total = sum(wanted)
        return [share / total for share in wanted] if total > 0.0 else uniform(len(arms))

    def observe(self, observation: Observation) -> Change:
        """As always, except that models without a share could not have been chosen."""
        chances = self.distribution(observation.arms, {})
        possible = [arm for arm, chance in zip(observation.arms, chances, strict=True) if chance > 0.0]
        return observed(Observation(possible, observation.losses, observation.propensities))

    def _share_of(self, arm: str) -> float:
        """Arms are models, or ``model:version`` where each version is an arm of its own."""
        shares = self.shares or {}
        return shares.get(arm, shares.get(arm.partition(":")[0], 0.0))
