from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.abstraction.batching.latency import FORGET_AFTER, RECENT, LatencyModel


def learned(*samples):
    model = LatencyModel()
    for size, seconds in samples:
        model.observe(size, seconds)
    return model


def test_knows_nothing_at_first_and_begins_with_one():
    model = LatencyModel()
    assert (model.largest, model.seconds(10), model.size_within(1.0, 100)) == (0, 0.0, 1)


def test_interpolates_between_measured_sizes_and_extrapolates_beyond_them():
    model = learned((10, 0.010), (20, 0.020))
    assert abs(model.seconds(15) - 0.015) < 1e-9
    assert abs(model.seconds(30) - 0.030) < 1e-9


def test_below_the_smallest_known_size_the_line_goes_on_and_a_query_takes_its_share_at_least():
    assert learned((32, 0.010), (48, 0.014)).seconds(1) == pytest.approx(0.010 - 31 * 0.004 / 16)
    assert learned((32, 0.010), (48, 0.040)).seconds(1) == pytest.approx(0.010 / 32)
    assert learned((32, 0.010)).seconds(1) == 0.010, "one size says nothing about a smaller one"


def test_the_size_within_a_time_is_at_most_what_is_asked_for():
    model = learned((10, 0.010), (20, 0.020))
    assert model.size_within(0.015, 100) == 15
    assert model.size_within(0.015, 12) == 12
    assert model.size_within(0.030, 100) == 30
    assert model.size_within(10.0, 100) == 100
    assert model.size_within(0.001, 100) == 1
    assert model.size_within(0.0009, 100) == 0


def test_one_known_size_is_no_reason_not_to_try_the_next():
    assert learned((1, 0.005)).size_within(0.006, 2) == 2


def test_a_single_outlier_decides_nothing():
    model = learned(*[(8, 0.001)] * 5, (8, 0.5))
    assert model.seconds(8) == 0.001


def test_a_change_for_the_worse_is_seen_after_two_batches():
    model = learned(*[(8, 0.001)] * RECENT, (8, 0.1), (8, 0.1))
    assert model.seconds(8) == 0.1


def test_a_change_for_the_better_is_seen_when_the_recent_batches_say_so():
    model = learned(*[(8, 0.1)] * RECENT, *[(8, 0.001)] * RECENT)
    assert model.seconds(8) == 0.001


def test_a_larger_size_that_was_slow_once_is_forgotten_and_tried_again():
    model = learned(*[(8, 0.001)] * 4, (64, 0.5))
    assert model.size_within(0.002, 100) < 16
    for _ in range(2 * FORGET_AFTER):
        model.observe(8, 0.001)
    assert model.largest < 64
    assert model.size_within(0.002, 2 * model.largest) == 2 * model.largest


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.floats(1e-6, 10.0)), min_size=1, max_size=150),
    st.floats(0.0, 20.0),
    st.integers(1, 10_000),
)
def test_never_predicts_less_for_more_and_both_directions_agree(samples, seconds, most):
    model = learned(*samples)
    sizes = sorted({size for size, _ in samples} | {1, 2, 3, 10, 100, 9999})
    predicted = [model.seconds(size) for size in sizes]
    assert all(a <= b + 1e-9 for a, b in pairwise(predicted))
    size = model.size_within(seconds, most)
    assert 0 <= size <= most
    assert size == 0 or model.seconds(size) <= seconds + 1e-5
