import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.evidence import Evidence
from clipper.selection import Loss, Observation, policy_named
from clipper.selection.exponential import exponential_weights

LOSSES = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=8)
RATES = st.floats(1e-4, 10.0)


@given(LOSSES, RATES, st.integers(1, 3))
def test_arms_without_any_history_have_exactly_one_part_in_k_and_the_others_their_proportions(losses, rate, new):
    count = len(losses)
    before = exponential_weights(losses, [100.0] * count, rate)
    after = exponential_weights(losses + [0.0] * new, [100.0] * count + [0.0] * new, rate)
    assert after[count:] == pytest.approx([1 / (count + new)] * new, rel=1e-6)
    assert after[:count] == pytest.approx([w * count / (count + new) for w in before], rel=1e-6, abs=1e-12)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=8), RATES)
def test_an_arm_without_history_has_its_part_also_among_arms_of_unequal_histories(arms, rate):
    known = [1e4 * share for _, share in arms] + [1e4, 0.0]
    losses = [mean * count for (mean, _), count in zip(arms, known, strict=False)] + [2e3, 0.0]
    assert exponential_weights(losses, known, rate)[-1] == pytest.approx(1 / len(known), rel=1e-6)


@given(LOSSES, RATES, st.floats(0.0, 1e5))
def test_what_all_arms_lost_alike_makes_no_difference(losses, rate, more):
    known = [10.0] * len(losses)
    plain = exponential_weights(losses, known, rate)
    shifted = exponential_weights([loss + more for loss in losses], known, rate)
    assert shifted == pytest.approx(plain, rel=1e-3, abs=1e-9)


def test_a_new_arm_earns_or_loses_its_place_by_what_it_shows():
    policy = policy_named("exp4", {})
    evidence = Evidence()
    for step in range(2_000):
        losses = {"a": 0.2, "b": 0.4} | ({"good": 0.0, "bad": 0.9} if step >= 1_900 else {})
        change = policy.observe(Observation(list(losses), losses, dict.fromkeys(losses, 1.0)))
        evidence.add(change, policy.half_life_feedbacks)
    arms = ["a", "b", "good", "bad"]
    shares = dict(zip(arms, policy.distribution(arms, evidence.present()), strict=True))
    assert shares["good"] > shares["a"] > shares["b"]
    assert shares["good"] > 0.25 > shares["bad"]


def test_exp3_of_the_literature_multiplies_weights_step_by_step():
    policy = policy_named("exp3", {"eta": 0.05, "exploration": 0, "half_life_feedbacks": None})
    evidence, arms = Evidence(), ["a", "b", "c"]
    weights, random = dict.fromkeys(arms, 1.0), Random(5)
    for step in range(300):
        probabilities = policy.distribution(arms, evidence.present())
        assert probabilities == pytest.approx([w / sum(weights.values()) for w in weights.values()], rel=1e-9)
        chosen, loss = random.choices(arms, probabilities)[0], (step % 7) / 7
        propensity = probabilities[arms.index(chosen)]
        evidence.add(policy.observe(Observation(arms, {chosen: loss}, {chosen: propensity})), None)
        weights[chosen] *= math.exp(-0.05 * loss / propensity)


def test_exp4_of_the_literature_multiplies_all_weights_step_by_step():
    policy = policy_named("exp4", {"eta": 0.2, "half_life_feedbacks": None})
    evidence, arms = Evidence(), ["a", "b", "c"]
    weights = dict.fromkeys(arms, 1.0)
    for step in range(300):
        probabilities = policy.distribution(arms, evidence.present())
        assert probabilities == pytest.approx([w / sum(weights.values()) for w in weights.values()], rel=1e-9)
        losses = {arm: ((step + 3 * index) % 7) / 7 for index, arm in enumerate(arms)}
        evidence.add(policy.observe(Observation(arms, losses, dict.fromkeys(arms, 1.0))), None)
        weights = {arm: weight * math.exp(-0.2 * losses[arm]) for arm, weight in weights.items()}


def test_the_default_weights_depend_on_how_good_arms_are_and_not_on_how_long_they_were_watched():
    policy = policy_named("exp4", {})
    states = [
        {arm: {"eligible": n, "plays": n, "loss": mean * n} for arm, mean in (("a", 0.1), ("b", 0.3))}
        for n in (1e4, 1e6)
    ]
    short, long = (policy.distribution(["a", "b"], state) for state in states)
    assert short == pytest.approx(long, rel=1e-3)
    assert long[0] / long[1] == pytest.approx(math.exp(5.0 * 0.2), rel=1e-3)


@pytest.mark.parametrize("name", ["exp3", "exp4"])
def test_a_few_plays_count_in_part_and_an_arm_that_never_answers_keeps_its_fair_share(name):
    policy = policy_named(name, {})
    good = {"eligible": 500.0, "plays": 400.0, "loss": 40.0}
    once_right = {"eligible": 500.0, "plays": 1.0, "loss": 0.0}
    silent = {"eligible": 500.0, "plays": 0.0, "loss": 0.0}
    arms = ["good", "once-right", "silent"]
    shares = policy.distribution(arms, {"good": good, "once-right": once_right, "silent": silent})
    assert shares[2] == pytest.approx(1 / 3)
    assert shares[2] < shares[1] < 2 / 3


def test_exp4_votes_or_averages_by_the_loss_unless_told():
    outputs, weights = {"a": 1.0, "b": 2.0, "c": 2.0}, dict.fromkeys("abc", 1 / 3)
    absolute = Loss("absolute", 0.0, 10.0)
    assert policy_named("exp4", {}).combine(outputs, weights, Loss())[0] == 2.0
    assert policy_named("exp4", {}).combine(outputs, weights, absolute)[0] == pytest.approx(5 / 3)
    assert policy_named("exp4", {"combining": "vote"}).combine(outputs, weights, absolute)[0] == 2.0
    assert policy_named("exp4", {"combining": "mean"}).combine(outputs, weights, Loss())[0] == pytest.approx(5 / 3)


def test_majority_votes_and_average_averages_whatever_the_loss():
    outputs, weights = {"a": 1.0, "b": 2.0, "c": 2.0}, dict.fromkeys("abc", 1 / 3)
    for loss in (Loss(), Loss("absolute", 0.0, 10.0)):
        assert policy_named("majority", {}).combine(outputs, weights, loss) == (2.0, pytest.approx(2 / 3))
        assert policy_named("average", {}).combine(outputs, weights, loss)[0] == pytest.approx(5 / 3)
