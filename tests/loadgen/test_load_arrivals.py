"""When queries come: the statistics of the arrival processes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.loadgen.arrivals import BURSTINESS, arrival_times

KINDS = ["poisson", "uniform", "bursty"]


@pytest.mark.parametrize(("kind", "variation"), [("poisson", 1.0), ("uniform", 0.0), ("bursty", BURSTINESS)])
def test_gaps_have_the_rate_and_the_burstiness_of_their_kind(kind, variation):
    times_s = np.array(list(arrival_times(kind, 1000.0, 200.0, seed=1)))
    gaps_s = np.diff(times_s)
    assert len(times_s) == pytest.approx(200_000, rel=0.03)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(variation, rel=0.05, abs=1e-6)
    assert gaps_s.min() >= 0
    assert 0 <= times_s[0] < times_s[-1] < 200


def test_poisson_arrivals_of_a_second_vary_as_much_as_their_mean():
    times_s = np.array(list(arrival_times("poisson", 100.0, 1000.0, seed=2)))
    counts = np.bincount(times_s.astype(int), minlength=1000)
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.15)


@given(kind=st.sampled_from(KINDS), processes=st.integers(1, 7), count=st.integers(0, 20_000), seed=st.integers(0, 99))
def test_processes_together_send_exactly_what_one_would_send(kind, processes, count, seed):
    """Also across the chunks in which moments are drawn, whose length no number of processes need divide."""
    alone = list(arrival_times(kind, 100.0, count / 100.0, seed)) if count else []
    shares = [list(arrival_times(kind, 100.0, count / 100.0, seed, p, processes)) for p in range(processes)]
    for process, share in enumerate(shares):
        assert share == alone[process::processes]


def test_the_same_seed_is_the_same_load_and_another_one_is_not():
    def drawn(seed):
        return list(arrival_times("poisson", 100.0, 1.0, seed))

    assert drawn(1) == drawn(1) != drawn(2)
