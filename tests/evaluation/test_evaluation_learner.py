import random

import pytest
from simulated_log import MODELS, Server, World, record

from clipper.evaluation.event import event_of
from clipper.evaluation.learner import Learner
from clipper.selection import policy_named


def shown(learner: Learner, records) -> None:
    for one in records:
        event = event_of(one, MODELS)
        learner.learn(event, learner.probabilities(event))


def probabilities(learner: Learner, uid: str | None = None) -> dict[str, float]:
    return learner.probabilities(event_of(record(uid=uid), MODELS))


@pytest.mark.parametrize("policy", ["exp3", "exp4", "thompson", "ucb1", "epsilon_greedy", "majority"])
def test_a_policy_that_is_shown_its_own_log_learns_what_it_had_learnt(policy: str) -> None:
    server = Server(World(1), policy_named(policy, {}))
    server.run(300, ("ann", "bob", None))
    learner = Learner(server.policy, random.Random(2).random)
    shown(learner, server.records)
    for uid in ("ann", "bob", None):
        expected = dict(zip(MODELS, server.policy.distribution(MODELS, server._state(uid)), strict=True))
        assert probabilities(learner, uid) == pytest.approx(expected)


def test_what_an_ensemble_learns_from_the_log_of_a_bandit_is_right_on_average() -> None:
    server = Server(World(4), policy_named("ab", {"shares": {"ash": 70, "birch": 20, "cedar": 10}}))
    server.run(6000)
    learner = Learner(policy_named("exp4", {"half_life_feedbacks": None}), random.Random(2).random)
    shown(learner, server.records)
    sums = learner._shared.present()
    for model, error in (("ash", 0.4), ("birch", 0.25), ("cedar", 0.1)):
        assert sums[model]["plays"] == pytest.approx(6000, rel=0.1)
        assert sums[model]["loss"] / sums[model]["plays"] == pytest.approx(error, abs=0.04)


def test_a_choice_that_the_policy_would_never_have_made_teaches_it_nothing() -> None:
    learner = Learner(policy_named("ab", {"shares": {"ash": 1}}), random.Random(2).random)
    shown(learner, [record(arms=("birch",), propensities=(0.5,), losses=(1.0,))])
    assert not learner._shared.present()
    assert learner._shared.n == 1


def test_only_so_many_users_are_held_the_latest() -> None:
    learner = Learner(policy_named("exp3", {}), random.Random(2).random, max_users=2)
    shown(learner, [record(number, uid=f"user-{number}") for number in range(5)])
    assert list(learner._users) == ["user-3", "user-4"]
