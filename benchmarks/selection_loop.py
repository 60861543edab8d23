"""A selection policy at work, without a server: the served code's choice, combination and evidence, query by query."""

import random
from collections.abc import Mapping
from typing import Any

from clipper.evidence import Evidence
from clipper.selection import Loss, Observation, Policy, state_of_user


class SelectionLoop:
    """Answers from the models' outputs and learns from the labels, for everybody and for each user."""

    def __init__(self, policy: Policy, models: tuple[str, ...], loss: Loss, seed: int = 0) -> None:
        self.policy = policy
        self.models = models
        self.loss = loss
        self.shared = Evidence()
        self.users: dict[str, Evidence] = {}
        self._random = random.Random(seed)  # noqa: S311  # seeded, so that a figure comes again

    def answer(self, outputs: Mapping[str, Any], uid: str | None = None) -> tuple[Any, Mapping[str, float]]:
        """The answer, and the propensity of every model that was asked for it."""
        weights = dict(zip(self.models, self.policy.distribution(self.models, self._state(uid)), strict=True))
        if self.policy.is_ensemble:
            answer, _ = self.policy.combine(outputs, weights, self.loss)
            return answer, dict.fromkeys(self.models, 1.0)
        (chosen,) = self._random.choices(self.models, list(weights.values()))
        return outputs[chosen], {chosen: weights[chosen]}

    def learn(
        self, outputs: Mapping[str, Any], propensities: Mapping[str, float], label: Any, uid: str | None = None
    ) -> None:
        """Feedback on an answer."""
        losses = self.loss.of_all({model: outputs[model] for model in propensities}, label)
        change = self.policy.observe(Observation(self.models, losses, propensities))
        half_life = self.policy.half_life_feedbacks
        self.shared.add(change, half_life)
        if uid is not None:
            self.users.setdefault(uid, Evidence()).add(change, half_life)

    def _state(self, uid: str | None) -> Mapping[str, Mapping[str, float]]:
        shared = self.shared.present()
        if uid is None:
            return shared
        own = self.users.get(uid, Evidence())
        return state_of_user(own.present(), shared, self.policy.prior_feedbacks)
