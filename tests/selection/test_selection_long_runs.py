"""Ten million feedbacks, and any order of them."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipper.evidence import Evidence
from clipper.selection import Observation, policy_named, policy_names

ARMS = ["a", "b", "c"]
PLAIN = [
    ("exp3", {"eta": 10, "exploration": 0, "half_life_feedbacks": None}),
    ("exp4", {"eta": 10, "half_life_feedbacks": None}),
]
EVERY = [(name, {}) for name in policy_names() if name != "single"] + PLAIN
FEEDBACKS = 10_000_000


def choice(random, policy, chances):
    """One feedback on a choice, or on an ensemble, as the engine reports it."""
    if policy.is_ensemble:
        losses = {arm: float(random.random() < 0.2) for arm in ARMS}
        return policy.observe(Observation(ARMS, losses, dict.fromkeys(ARMS, 1.0)))
    arm = random.choices(ARMS, chances)[0]
    loss = float(random.random() < 0.2)
    return policy.observe(Observation(ARMS, {arm: loss}, {arm: chances[ARMS.index(arm)]}))


def assert_sound(probabilities):
    assert all(math.isfinite(p) and 0.0 <= p <= 1.0 for p in probabilities)
    assert math.fsum(probabilities) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("name", "options"), EVERY)
@pytest.mark.parametrize("half_life", [None, 1.0, 400.0, 1e9])
def test_after_ten_million_feedbacks_the_probabilities_are_sound(name, options, half_life):
    policy = policy_named(name, options)
    random = Random(11)
    evidence = Evidence(
        n=FEEDBACKS, half_life_feedbacks=half_life, landmark=0 if half_life in {None, 1e9} else FEEDBACKS
    )
    many = {arm: {"eligible": 1e7, "plays": 3e6, "loss": 1e6, "weighted_loss": 1e7} for arm in ARMS}
    evidence.add_at(FEEDBACKS, many)
    for _ in range(2_000):
        probabilities = policy.distribution(ARMS, evidence.present())
        assert_sound(probabilities)
        evidence.add(choice(random, policy, probabilities), half_life)
    assert evidence.n == FEEDBACKS + 2_000


def test_thousands_of_half_lives_move_the_landmark_and_lose_nothing():
    policy = policy_named("exp4", {})
    change = policy.observe(Observation(ARMS, {"a": 0.0, "b": 1.0, "c": 0.5}, dict.fromkeys(ARMS, 1.0)))
    evidence = Evidence()
    for _ in range(100_000):
        evidence.add(change, 10.0)
    state = evidence.present()
    limit = 1.0 / (1.0 - 2.0**-0.1)
    assert state["b"] == pytest.approx({"eligible": limit, "plays": limit, "loss": limit, "weighted_loss": limit})
    assert state["c"]["loss"] == pytest.approx(limit / 2)


def test_a_model_that_left_long_ago_comes_back_as_a_new_one():
    policy = policy_named("exp4", {"half_life_feedbacks": 1})
    everybody = policy.observe(Observation(ARMS, {"a": 1.0, "b": 0.0, "c": 0.0}, dict.fromkeys(ARMS, 1.0)))
    others = {arm: sums for arm, sums in everybody.items() if arm != "a"}
    evidence = Evidence()
    for _ in range(100):
        evidence.add(everybody, 1.0)
    for _ in range(3_000):
        evidence.add(others, 1.0)
    assert policy.distribution(ARMS, evidence.present())[0] == pytest.approx(1 / 3)


@settings(max_examples=25)
@given(st.randoms(use_true_random=False), st.sampled_from(["exp3", "exp4", "thompson", "ucb1"]))
def test_the_order_in_which_feedback_is_added_does_not_matter_to_a_policy(random, name):
    policy = policy_named(name, {})
    changes = [choice(random, policy, [1 / 3] * 3) for _ in range(100)]
    serial, shuffled = (Evidence(n=100, half_life_feedbacks=20.0) for _ in range(2))
    positions = list(range(100))
    for position in positions:
        serial.add_at(position + 1, changes[position])
    random.shuffle(positions)
    for position in positions:
        shuffled.add_at(position + 1, changes[position])
    for arm in ARMS:
        assert shuffled.present()[arm] == pytest.approx(serial.present()[arm], rel=1e-9)
    expected = policy.distribution(ARMS, serial.present())
    assert policy.distribution(ARMS, shuffled.present()) == pytest.approx(expected, rel=1e-6, abs=1e-9)
