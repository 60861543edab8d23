import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.abstraction.batching import (
    Aimd,
    DeadlineBatching,
    FixedSize,
    LatencyModel,
    QuantileRegression,
    hold_until,
    make_policy,
)
from clipper.abstraction.batching.quantile import fit_quantile_line
from clipper.domain import Batching

MS = 1e-3


def linear(fixed_ms, per_query_ms, *sizes):
    model = LatencyModel()
    for size in sizes:
        model.observe(size, (fixed_ms + per_query_ms * size) * MS)
    return model


def deadline_policy(model, slo_ms=20, max_batch_size=4096):
    return DeadlineBatching(slo_ms * MS, max_batch_size, model)


@pytest.mark.parametrize("word", ["none", "fixed:32", "aimd", "quantile", "deadline"])
def test_every_policy_can_be_had_by_its_word_and_describes_itself(word):
    policy = make_policy(Batching.model_validate(word), LatencyModel(), 0.02)
    plan = policy.plan(0.0, [1.0] * 100)
    assert (plan.skip, plan.size) == (0, 32 if word == "fixed:32" else 1)
    assert policy.describe()["policy"] == word.split(":")[0]
    assert policy.describe()["size"] == policy.target_size


def test_fixed_takes_what_there_is():
    assert FixedSize(32).plan(0.0, [1.0] * 5).size == 5


def test_aimd_grows_by_two_while_full_batches_are_inside_the_set_point():
    policy = Aimd(0.02, 4096)
    sizes = []
    for _ in range(4):
        sizes.append(policy.target_size)
        policy.observe(policy.target_size, 0.001)
    assert sizes == [1, 3, 5, 7]


def test_aimd_learns_nothing_from_a_batch_that_was_not_full():
    policy = Aimd(0.02, 4096)
    policy.observe(1, 0.001)
    policy.observe(1, 0.001)
    assert policy.target_size == 3


def test_aimd_holds_in_the_last_tenth_below_the_set_point_and_shrinks_by_a_tenth_above_it():
    policy = Aimd(0.02, 4096)
    for _ in range(50):
        policy.observe(policy.target_size, 0.001)
    assert policy.target_size == 101
    policy.observe(101, 0.0095)
    assert policy.target_size == 101
    policy.observe(101, 0.0101)
    assert policy.target_size == 90


def test_aimd_stays_between_one_and_the_maximum():
    policy = Aimd(0.02, 6)
    for _ in range(10):
        policy.observe(policy.target_size, 0.001)
    assert policy.target_size == 6
    for _ in range(50):
        policy.observe(policy.target_size, 1.0)
    assert policy.target_size == 1


def test_aimd_settles_where_a_batch_takes_the_set_point():
    policy = Aimd(0.02, 4096)
    for _ in range(300):
        policy.observe(policy.target_size, (1 + 0.1 * policy.target_size) * MS)
    assert 75 <= policy.target_size <= 92


def test_the_quantile_line_is_above_almost_all_samples_and_close_to_them():
    rng = random.Random(3)
    samples = [(size, (2 + 0.05 * size + rng.random()) * MS) for size in rng.choices(range(1, 200), k=400)]
    intercept, slope = fit_quantile_line(samples)
    above = sum(seconds > intercept + slope * size + 1e-12 for size, seconds in samples)
    assert above <= 0.02 * len(samples)
    assert 0.04 * MS < slope < 0.06 * MS
    assert 2.5 * MS < intercept < 3.5 * MS


@given(st.lists(st.tuples(st.integers(1, 4096), st.floats(1e-6, 5.0)), min_size=1, max_size=100))
def test_a_quantile_line_never_falls_and_covers_the_samples(samples):
    intercept, slope = fit_quantile_line(samples)
    assert slope >= 0
    assert sum(seconds > intercept + slope * size + 1e-9 for size, seconds in samples) <= max(1, 0.02 * len(samples))


def test_quantile_settles_where_the_fitted_p99_takes_the_set_point():
    rng = random.Random(5)
    policy = QuantileRegression(0.02, 4096)
    for _ in range(300):
        size = round(policy.target_size * rng.uniform(0.5, 1))
        policy.observe(size, (1 + 0.1 * size) * MS * (1 + 0.05 * rng.random()))
    assert 75 <= policy.target_size <= 92


def test_deadline_takes_everything_when_it_is_on_time():
    policy = deadline_policy(linear(1, 0.1, 1, 50, 100))
    plan = policy.plan(0.0, [20 * MS] * 40)
    assert (plan.skip, plan.size, plan.reason) == (0, 40, "everything queued")


def test_deadline_takes_about_half_of_the_slo_from_a_long_queue():
    policy = deadline_policy(linear(1, 0.1, 1, 50, 100))
    assert policy.target_size == pytest.approx(84, abs=3)
    assert policy.plan(0.0, [20 * MS] * 1000).size == policy.target_size


def test_deadline_respects_the_maximum():
    assert deadline_policy(linear(1, 0.001, 1, 50, 100), max_batch_size=16).plan(0.0, [1.0] * 50).size == 16


def test_deadline_explores_by_doubling_and_only_with_queries_that_are_there():
    policy = deadline_policy(linear(5, 0, 1, 4))
    assert policy.plan(0.0, [9 * MS] * 100).size == 8
    assert policy.plan(0.0, [9 * MS] * 6).size == 6


def test_deadline_explores_further_where_even_batches_without_any_gain_would_be_on_time():
    policy = deadline_policy(linear(0, 5, 1))
    assert policy.plan(0.0, [18 * MS] * 100).size == 3
    assert policy.plan(16 * MS, [18 * MS] * 100).hopeless


def test_a_tight_head_is_served_first_when_the_others_have_time():
    policy = deadline_policy(linear(1, 0.1, 1, 50, 100))
    plan = policy.plan(0.0, [1.5 * MS] + [20 * MS] * 40)
    assert (plan.skip, plan.size) == (0, 5)


def test_a_tight_head_is_left_out_when_that_makes_more_of_the_others_on_time():
    policy = deadline_policy(linear(1, 0.1, 1, 50, 100))
    plan = policy.plan(0.0, [1.2 * MS] + [6.15 * MS] * 50)
    assert (plan.skip, plan.size) == (1, 50)


def test_heads_that_are_late_whatever_is_done_do_not_shrink_the_batch():
    policy = deadline_policy(linear(1, 0.1, 1, 50, 100))
    plan = policy.plan(0.0, [0.5 * MS] * 3 + [20 * MS] * 40)
    assert (plan.skip, plan.size) == (3, 40)


def test_where_everything_is_late_one_query_is_still_planned_and_said_to_be_hopeless():
    plan = deadline_policy(linear(50, 0.1, 1, 50)).plan(0.0, [20 * MS] * 10)
    assert plan.size == 1
    assert plan.hopeless


def test_a_model_slower_than_half_of_the_slo_still_gets_batches():
    policy = deadline_policy(linear(12, 0.05, 1, 20, 40))
    assert policy.target_size > 10


def test_a_new_slo_changes_the_target_at_once():
    policy = deadline_policy(linear(1, 0.1, 1, 50, 100))
    before = policy.target_size
    policy.set_slo(10 * MS)
    assert policy.target_size < before


@given(
    st.lists(st.tuples(st.integers(1, 300), st.floats(1e-5, 0.1)), max_size=40),
    st.lists(st.floats(0.0, 0.2), min_size=1, max_size=200),
    st.floats(0.0, 0.1),
)
def test_a_plan_is_always_a_slice_of_the_queue_with_at_least_one_query(samples, deadlines_s, start_s):
    model = LatencyModel()
    policy = deadline_policy(model)
    for size, seconds in samples:
        model.observe(size, seconds)
        policy.observe(size, seconds)
    deadlines_s.sort()
    plan = policy.plan(start_s, deadlines_s)
    assert plan.size >= 1
    assert 0 <= plan.skip <= plan.skip + plan.size <= len(deadlines_s)
    assert plan.size <= policy.expected_size
    if not plan.hopeless:
        assert start_s + model.seconds(plan.size) <= deadlines_s[plan.skip] + 1e-5


def test_a_small_batch_is_held_for_the_delay_but_not_beyond_what_the_deadline_allows():
    assert hold_until(4, 32, 10.0, 0.002, 11.0, 0.001) == 10.002
    assert hold_until(4, 32, 10.0, 0.002, 10.002, 0.001) == pytest.approx(10.001)


def test_a_full_batch_or_one_without_delay_goes_at_once():
    assert hold_until(32, 32, 10.0, 0.002, 11.0, 0.001) is None
    assert hold_until(4, 32, 10.0, 0.0, 11.0, 0.001) is None
