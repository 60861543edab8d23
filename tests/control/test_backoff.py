"""Pauses between attempts grow to a bound and are never all the same."""

from hypothesis import given
from hypothesis import strategies as st

from clipper.control.backoff import Backoff

BACKOFF = Backoff(base_s=0.25, max_s=60.0)


def test_the_first_pause_is_the_base_and_each_doubles_it_up_to_the_bound():
    assert [BACKOFF.delay_s(n, 1.0) for n in (1, 2, 3, 8, 9, 10)] == [0.25, 0.5, 1.0, 32.0, 60.0, 60.0]


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_between_half_and_all_of_its_bound(failures, draw):
    whole = BACKOFF.delay_s(failures, 1.0)
    assert whole / 2 <= BACKOFF.delay_s(failures, draw) <= whole <= 60.0
