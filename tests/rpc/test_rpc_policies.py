"""Backoff and clock offset: pure, so tested with numbers alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.rpc.backoff import FIRST_DELAY_S, MAX_DELAY_S, redial_delay_s
from clipper.rpc.clock import ClockOffset


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_delay_before_a_redial_is_bounded_and_never_zero(attempt: int, uniform: float) -> None:
    assert FIRST_DELAY_S / 2 <= redial_delay_s(attempt, uniform) <= MAX_DELAY_S


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_the_delay_never_shrinks_from_one_attempt_to_the_next(attempt: int, uniform: float) -> None:
    assert redial_delay_s(attempt + 1, uniform) >= redial_delay_s(attempt, uniform)


def test_jitter_spreads_a_delay_over_half_of_it() -> None:
    assert redial_delay_s(2, 0.0) == pytest.approx(0.04)
    assert redial_delay_s(2, 0.999_999) == pytest.approx(0.08, rel=1e-3)


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_the_offset_is_off_by_at_most_half_of_the_best_recent_round_trip(
    offset_s: float, trips: list[tuple[float, float]]
) -> None:
    estimate = ClockOffset()
    for i, (there_s, back_s) in enumerate(trips):
        sent_s = i * 1e-3
        estimate.add(sent_s, sent_s + there_s + offset_s, sent_s + there_s + back_s)
    best_s = min(there_s + back_s for there_s, back_s in trips[-8:]) / 2
    assert abs(estimate.offset_s - offset_s) <= best_s + 1e-3


def test_a_good_old_sample_gives_way_to_a_fair_new_one_as_clocks_drift() -> None:
    estimate = ClockOffset()
    estimate.add(0.0, 100.0, 0.0001)
    estimate.add(1.0, 101.2, 1.002)
    assert estimate.offset_s == pytest.approx(99.99995)
    estimate.add(60.0, 160.2, 60.002)
    assert estimate.offset_s == pytest.approx(100.199)
