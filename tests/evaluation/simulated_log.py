"""A feedback log as the server writes it, of models whose true error is known."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from clipper.evidence import Evidence
from clipper.feedback import FeedbackRecord
from clipper.selection import Loss, Observation, Policy, state_of_user

MODELS = ("ash", "birch", "cedar")
ERRORS = {"ash": 0.4, "birch": 0.25, "cedar": 0.1}
CLASSES = 10
LOSS = Loss("zero_one")

Error = Callable[[str, int, str | None], float]
"""The probability that a model is wrong at a query of a user."""


class World:
    """Ten classes; a model that is wrong says one of the other nine."""

    def __init__(self, seed: int, error: Error | None = None, models: Sequence[str] = MODELS) -> None:
        self.random = random.Random(seed)
        self.models = tuple(models)
        self._error = error or (lambda model, _step, _uid: ERRORS[model])

    def outputs(self, step: int, uid: str | None = None) -> tuple[int, dict[str, int]]:
        """The true class, and what each model says."""
        label = self.random.randrange(CLASSES)
        said = {}
        for model in self.models:
            wrong = self.random.random() < self._error(model, step, uid)
            said[model] = (label + self.random.randrange(1, CLASSES)) % CLASSES if wrong else label
        return label, said


class Server:
    """Runs a policy in a world, with evidence for everybody and for each user, and logs what it does."""

    def __init__(self, world: World, policy: Policy) -> None:
        self.world = world
        self.policy = policy
        self.shared = Evidence()
        self.users: dict[str, Evidence] = {}
        self.records: list[FeedbackRecord] = []

    def run(self, feedbacks: int, uids: Sequence[str | None] = (None,)) -> float:
        """So many queries, each with its feedback; the mean loss of the answers."""
        before = len(self.records)
        for step in range(feedbacks):
            self._ask(step, self.world.random.choice(uids))
        return sum(record.answer_loss for record in self.records[before:]) / feedbacks

    def _ask(self, step: int, uid: str | None) -> None:
        models = self.world.models
        label, said = self.world.outputs(step, uid)
        weights = dict(zip(models, self.policy.distribution(models, self._state(uid)), strict=True))
        if self.policy.is_ensemble:
            outputs, propensities = said, dict.fromkeys(models, 1.0)
        else:
            (chosen,) = self.world.random.choices(models, list(weights.values()))
            outputs, propensities = {chosen: said[chosen]}, {chosen: weights[chosen]}
        answer, _ = self.policy.combine(outputs, weights, LOSS)
        losses = LOSS.of_all(outputs, label)
        change = self.policy.observe(Observation(models, losses, propensities))
        self.shared.add(change, self.policy.half_life_feedbacks)
        if uid is not None:
            self.users.setdefault(uid, Evidence()).add(change, self.policy.half_life_feedbacks)
        self.records.append(
            record(
                len(self.records),
                arms=tuple(outputs),
                propensities=tuple(propensities.values()),
                outputs=tuple(outputs.values()),
                losses=tuple(losses.values()),
                label=label,
                change=change,
                uid=uid,
                answer=answer,
                answer_loss=LOSS.of(answer, label),
                policy=self.policy.name,
                half_life_feedbacks=self.policy.half_life_feedbacks,
            )
        )

    def _state(self, uid: str | None) -> Any:
        if uid is None:
            return self.shared.present()
        own = self.users.get(uid, Evidence())
        return state_of_user(own.present(), self.shared.present(), self.policy.prior_feedbacks)


def record(number: int = 0, **fields: Any) -> FeedbackRecord:
    """One line of a log. What is not given is of a right answer by the first model, asked for certain."""
    arms = fields.get("arms", MODELS[:1])
    return FeedbackRecord(
        **{
            "application": "trees",
            "generation": 1,
            "feedback_id": number.to_bytes(12),
            "accepted_at": 1_700_000_000.0 + number,
            "answered_at": 1_700_000_000.0 + number - 2.0,
            "full_information": False,
            "policy": "exp3",
            "models": tuple(f"{arm}:1" for arm in arms),
            "arms": arms,
            "propensities": (1.0,) * len(arms),
            "outputs": (3,) * len(arms),
            "losses": (0.0,) * len(arms),
            "label": 3,
            "change": {},
            **fields,
        }
    )
