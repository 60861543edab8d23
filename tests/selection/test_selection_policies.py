"""What holds for every policy, and what each of them does with what it knows."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.evidence import Evidence
from clipper.selection import Observation, Policy, policy_named, policy_names, state_of_user

MANY = [name for name in policy_names() if name != "single"]
LEARNING = ["epsilon_greedy", "ucb1", "thompson", "exp3", "exp4"]
PLAIN = [
    ("exp3", {"eta": 0.05, "exploration": 0, "half_life_feedbacks": None}),
    ("exp4", {"eta": 0.2, "half_life_feedbacks": None}),
]
EVERY = [(name, {}) for name in MANY] + PLAIN
ARMS = ["a", "b", "c", "d"]


@st.composite
def arm_sums(draw):
    """Sums as 10 million feedbacks with any losses, forgetting and propensities could leave them."""
    eligible = draw(st.floats(0.0, 1e7) | st.sampled_from([0.0, 1e-300, 1.0, 1e7]))
    plays = eligible * draw(st.floats(0.0, 1.0))
    loss = plays * draw(st.floats(0.0, 1.0))
    return {"eligible": eligible, "plays": plays, "loss": loss, "weighted_loss": loss * draw(st.floats(1.0, 1e9))}


STATES = st.dictionaries(st.sampled_from([*ARMS, "gone"]), arm_sums())


def chances(policy, arms, state):
    return dict(zip(arms, policy.distribution(arms, state), strict=True))


def known(plays, loss, eligible=1000.0):
    return {"eligible": eligible, "plays": plays, "loss": loss, "weighted_loss": loss}


@pytest.mark.parametrize(("name", "options"), EVERY)
@given(state=STATES, arms=st.permutations(ARMS), count=st.integers(1, 4))
def test_probabilities_are_finite_and_sum_to_1_in_any_state(name, options, state, arms, count):
    probabilities = policy_named(name, options).distribution(arms[:count], state)
    assert len(probabilities) == count
    assert all(math.isfinite(p) and 0.0 <= p <= 1.0 + 1e-12 for p in probabilities)
    assert math.fsum(probabilities) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_what_is_not_known_is_not_told_apart(name, options):
    assert policy_named(name, options).distribution(ARMS, {}) == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("name", MANY)
@given(state=STATES)
def test_the_order_of_the_arms_does_not_matter(name, state):
    policy = policy_named(name, {})
    forwards, backwards = chances(policy, ARMS, state), chances(policy, ARMS[::-1], state)
    assert forwards == pytest.approx(backwards, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ["epsilon_greedy", "ucb1", "thompson", "exp3"])
@given(state=STATES)
def test_a_policy_that_chooses_never_gives_up_on_a_model(name, state):
    policy = policy_named(name, {})
    share = policy.epsilon if name == "epsilon_greedy" else policy.exploration
    assert min(policy.distribution(ARMS, state)) >= share / 4 - 1e-12


@pytest.mark.parametrize("name", LEARNING)
def test_the_model_that_errs_least_gets_most(name):
    state = {"a": known(250, 60), "b": known(250, 20), "c": known(250, 100), "d": known(250, 180)}
    shares = chances(policy_named(name, {}), ARMS, state)
    assert max(shares, key=shares.__getitem__) == "b"
    assert shares["b"] > 0.25


@pytest.mark.parametrize("name", LEARNING)
def test_a_new_model_gets_a_fair_share_and_the_others_keep_their_order(name):
    policy = policy_named(name, {})
    state = {"a": known(300, 60), "b": known(500, 20), "c": known(200, 100)}
    before, after = chances(policy, ["a", "b", "c"], state), chances(policy, ["a", "b", "c", "new"], state)
    assert after["new"] >= 0.25 - 1e-9
    for arm in ("a", "b", "c"):
        assert after[arm] == pytest.approx(before[arm] * (1.0 - after["new"]), abs=0.01)


@pytest.mark.parametrize("name", LEARNING)
def test_what_is_known_of_a_model_that_is_gone_does_not_matter_to_the_others(name):
    policy = policy_named(name, {})
    state = {"a": known(900, 60), "b": known(900, 90)}
    gone = {"gone": known(900, 800)}
    assert chances(policy, ["a", "b"], state | gone) == chances(policy, ["a", "b"], state)


@pytest.mark.parametrize("name", ["epsilon_greedy", "ucb1", "thompson"])
def test_an_unlucky_start_does_not_end_a_trial(name):
    state = {"a": known(300, 60), "b": known(500, 20), "c": known(200, 100), "new": known(2, 2, eligible=10)}
    assert chances(policy_named(name, {}), ["a", "b", "c", "new"], state)["new"] >= 0.25
    state["new"] = known(6, 6, eligible=30)
    assert chances(policy_named(name, {}), ["a", "b", "c", "new"], state)["new"] < 0.1


def test_with_so_many_models_that_none_can_have_many_plays_trials_end_all_the_same():
    arms = [f"m{index}" for index in range(128)]
    state = {arm: known(577 / 128, 1.0 if arm == "m7" else 3.0, eligible=577.0) for arm in arms}
    assert chances(policy_named("epsilon_greedy", {}), arms, state)["m7"] > 0.9


def test_thompson_chances_are_those_of_draws_from_the_posteriors():
    state = {"a": known(30, 6), "b": known(50, 8), "c": known(12, 3), "d": known(400, 80)}
    policy = policy_named("thompson", {"exploration": 0})
    random = Random(1)
    wins = dict.fromkeys(ARMS, 0)
    for _ in range(20_000):
        drawn = {arm: random.betavariate(1 + s["loss"], 1 + s["plays"] - s["loss"]) for arm, s in state.items()}
        wins[min(drawn, key=drawn.__getitem__)] += 1
    assert chances(policy, ARMS, state) == pytest.approx({arm: n / 20_000 for arm, n in wins.items()}, abs=0.04)


def test_thompson_tells_apart_what_is_known_to_the_fourth_decimal():
    state = {"a": known(1e7, 1.00e6, 2e7), "b": known(1e7, 1.01e6, 2e7)}
    assert chances(policy_named("thompson", {"exploration": 0}), ["a", "b"], state)["a"] == pytest.approx(1.0, abs=1e-3)


def test_ucb1_prefers_the_less_known_of_equals_and_epsilon_greedy_shares_among_them():
    state = {"a": known(900, 90), "b": known(100, 10)}
    assert chances(policy_named("ucb1", {}), ["a", "b"], state)["b"] > 0.9
    assert chances(policy_named("epsilon_greedy", {}), ["a", "b"], state) == {"a": 0.5, "b": 0.5}


def test_ab_divides_by_its_shares_whatever_feedback_says():
    policy = policy_named("ab", {"shares": {"a": 90, "b": 10, "not-linked": 50}})
    state = {"a": known(900, 900), "b": known(100, 0)}
    assert chances(policy, ["a", "b", "unnamed"], state) == {"a": 0.9, "b": 0.1, "unnamed": 0.0}
    assert chances(policy, ["a:2", "b:1"], state) == {"a:2": 0.9, "b:1": 0.1}
    assert chances(policy, ["unnamed", "other"], state) == {"unnamed": 0.5, "other": 0.5}
    assert policy.sticky


def test_ab_does_not_count_a_feedback_for_a_model_that_could_not_have_been_chosen():
    policy = policy_named("ab", {"shares": {"a": 90, "b": 10}})
    change = policy.observe(Observation(["a", "b", "unnamed"], {"a": 0.0}, {"a": 0.9}))
    assert change.keys() == {"a", "b"}


def test_one_feedback_on_a_choice_counts_for_all_that_could_have_been_chosen():
    change = policy_named("exp3", {}).observe(Observation(ARMS, {"b": 1.0}, {"b": 0.25}))
    assert change["b"] == {"eligible": 1.0, "plays": 1.0, "loss": 1.0, "weighted_loss": 4.0}
    assert [change[arm] for arm in "acd"] == [{"eligible": 1.0}] * 3


def test_a_member_of_an_ensemble_whose_output_is_not_known_does_not_look_right():
    policy = policy_named("exp4", {})
    change = policy.observe(Observation(ARMS, {"a": 1.0, "b": 0.0, "c": 0.0}, dict.fromkeys("abc", 1.0)))
    assert "d" not in change
    evidence = Evidence()
    for _ in range(200):
        evidence.add(change, None)
    shares = chances(policy, ARMS, evidence.present())
    assert shares["b"] == shares["c"] > shares["d"] > shares["a"]
    assert shares["d"] == pytest.approx(0.25)


def test_feedback_without_any_known_loss_changes_nothing():
    assert policy_named("exp3", {}).observe(Observation(ARMS, {}, {})) == {}


def test_a_loss_out_of_bounds_and_a_vanishing_propensity_are_bounded():
    change = policy_named("exp3", {}).observe(Observation(ARMS, {"a": 7.0}, {"a": 1e-300}))
    assert change["a"] == pytest.approx({"eligible": 1.0, "plays": 1.0, "loss": 1.0, "weighted_loss": 1e9})


def test_a_user_starts_from_everybody_and_is_not_drowned_by_them():
    shared = {"a": known(50_000, 5_000, 50_000), "b": known(50_000, 25_000, 50_000)}
    policy = policy_named("exp4", {"prior_feedbacks": 10})
    start = state_of_user({}, shared, policy.prior_feedbacks)
    assert start["a"] == pytest.approx(known(10, 1, 10))
    assert policy.distribution(["a", "b"], start) == pytest.approx(policy.distribution(["a", "b"], shared), abs=0.1)
    own = {"a": known(20, 18, 20), "b": known(20, 2, 20)}
    shares = chances(policy, ["a", "b"], state_of_user(own, shared, policy.prior_feedbacks))
    assert shares["b"] > shares["a"]


def test_few_feedbacks_of_everybody_are_not_blown_up():
    shared = {"a": known(3, 1, 3)}
    assert state_of_user({}, shared, 10.0) == shared
    assert state_of_user({"a": known(1, 1, 1)}, {}, 10.0) == {"a": known(1, 1, 1)}


@pytest.mark.parametrize("name", policy_names())
def test_every_policy_is_one(name):
    policy = policy_named(name, {})
    assert isinstance(policy, Policy)
    assert policy.name == name
    assert policy.learns is (name != "single")
    assert policy.is_ensemble is (name in {"exp4", "majority", "average"})
    assert policy.max_models == (1 if name == "single" else None)


def test_the_policies_that_choose_answer_with_what_was_chosen():
    for name in ("single", "exp3", "ab"):
        assert policy_named(name, {}).combine({"a": [1, "x"]}, {"a": 1.0}, None) == ([1, "x"], 1.0)
