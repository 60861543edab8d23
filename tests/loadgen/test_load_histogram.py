"""Percentiles from buckets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.loadgen.histogram import LARGEST_S, RELATIVE_ERROR, SMALLEST_S, Histogram

latencies = st.lists(st.floats(SMALLEST_S, LARGEST_S), min_size=1, max_size=200)


def recorded(values):
    histogram = Histogram()
    histogram.record(values)
    return histogram


@given(latencies, st.floats(0, 1))
def test_every_quantile_is_within_a_quarter_of_a_percent(values, q):
    rank = max(1, math.ceil(q * len(values)))
    exact = sorted(values)[rank - 1]
    assert recorded(values).quantile_s(q) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.01)


@given(latencies, latencies)
def test_histograms_of_two_processes_are_as_one(some, others):
    together, apart = recorded(some + others), recorded(some)
    apart.add(recorded(others).counts())
    assert apart.count == together.count
    assert apart.mean_s == pytest.approx(together.mean_s)
    assert [apart.quantile_s(q) for q in (0, 0.5, 1)] == [together.quantile_s(q) for q in (0, 0.5, 1)]


@given(latencies, st.floats(SMALLEST_S, LARGEST_S))
def test_the_share_above_a_latency_errs_only_by_what_lies_in_its_bucket(values, latency_s):
    share = recorded(values).share_above(latency_s)
    width = 1 + 2.1 * RELATIVE_ERROR
    assert np.mean(np.array(values) > latency_s * width) <= share <= np.mean(np.array(values) > latency_s / width)


def test_without_a_latency_there_is_no_percentile_and_nothing_to_add():
    empty = Histogram()
    empty.add(Histogram().counts())
    assert math.isnan(empty.quantile_s(0.5))
    assert (empty.count, empty.mean_s, empty.share_above(0.1)) == (0, 0.0, 0.0)


def test_what_is_too_short_or_too_long_to_be_a_latency_is_counted_at_the_end_of_the_scale():
    histogram = recorded([-1e-9, 0.0, 1e9])
    assert histogram.count == 3
    assert histogram.max_s == 1e9
