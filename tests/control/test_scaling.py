"""How many replicas a version gets, in simulated time."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipper.control.scaling import CALM_S, RHO, Demand, Scaler, demand_of, need_of, waiting_share
from clipper.deployment import ReplicaRange
from clipper.engine.load import VersionLoad

BOUNDS = ReplicaRange(min=1, max=8)


def demand(rate, throughput=100.0, *, batch_s=0.01, run_s=0.01, slo_s=1.0):
    return Demand(rate, throughput, throughput * batch_s, batch_s, run_s, slo_s)


class Run:
    """A version whose demand is looked at once a second."""

    def __init__(self, bounds=BOUNDS, replicas=1):
        self.scaler, self.bounds, self.replicas, self.now_s = Scaler(0.0), bounds, replicas, 0.0
        self.history = []

    def look(self, rate, seconds=1, throughput=100.0):
        for _ in range(seconds):
            self.now_s += 1.0
            need = self.scaler.decide(self.replicas, demand(rate, throughput), self.bounds, self.now_s)
            self.replicas = need.replicas
            self.history.append(need.replicas)
        return self.replicas


@pytest.mark.parametrize(
    ("rate", "replicas"), [(0, 1), (1, 1), (80, 1), (81, 2), (160, 2), (310, 4), (640, 8), (641, 8), (1e6, 8)]
)
def test_the_number_is_that_of_inferline_within_the_bounds(rate, replicas):
    assert need_of(demand(rate), BOUNDS).replicas == replicas


def test_the_reason_has_the_measurements_and_what_keeps_it_from_more():
    assert need_of(demand(310, 95), BOUNDS).reason == "310 queries/s, 95/s a replica"
    assert need_of(demand(5000, 95), BOUNDS).reason.endswith("; 66 would be needed, 8 is the maximum")
    assert "a single query takes 1200 ms, the SLO is 1000 ms" in need_of(demand(1, run_s=1.2), BOUNDS).reason


def test_what_was_never_measured_gets_the_least():
    assert need_of(Demand(500.0, None), ReplicaRange(min=3, max=8)).replicas == 3


def test_it_goes_up_at_once_and_down_when_it_was_calm_for_fifteen_seconds():
    run = Run()
    run.look(50, 20)
    assert run.look(310) == 4
    assert run.look(50, int(CALM_S) - 1) == 4
    assert run.look(50, 2) == 1


def test_a_second_burst_begins_the_calm_anew():
    run = Run()
    run.look(310, 20)
    run.look(50, 14)
    run.look(310)
    assert run.look(50, 14) == 4
    assert run.look(50, 2) == 1


def test_it_goes_down_to_what_was_needed_lately_not_to_what_is_needed_now():
    run = Run()
    run.look(310, 20)
    run.look(150, 14)
    assert run.look(50, 1) == 2


def test_after_a_restart_nothing_goes_down_before_fifteen_seconds_were_seen():
    run = Run(replicas=6)
    assert run.look(50, 14) == 6
    assert run.look(50, 2) == 1


def test_a_rate_at_the_edge_between_two_numbers_does_not_make_them_alternate():
    run = Run()
    for i in range(200):
        run.look(79 if i % 2 else 81)
    assert set(run.history) == {2}


@given(
    st.lists(st.tuples(st.floats(0, 1e5), st.integers(1, 40), st.floats(0.1, 1e4)), max_size=12),
    st.tuples(st.integers(1, 256), st.integers(1, 256)).map(sorted),
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_measured_it_stays_within_the_bounds_and_settles(history, bounds):
    run = Run(ReplicaRange(min=bounds[0], max=bounds[1]), replicas=bounds[0])
    for rate, seconds, throughput in history:
        before, need = run.replicas, need_of(demand(rate, throughput), run.bounds).replicas
        for after in (run.look(rate, 1, throughput) for _ in range(seconds)):
            assert bounds[0] <= after <= bounds[1]
            assert after >= need, "what is needed now is there at once"
            assert after <= max(before, need), "nothing is added that is not needed"
    rate, _, throughput = history[-1] if history else (10.0, 1, 100.0)
    run.look(rate, int(CALM_S) + 2, throughput)
    assert run.replicas == need_of(demand(rate, throughput), run.bounds).replicas
    settled = run.replicas
    run.look(rate, 60, throughput)
    assert set(run.history[-60:]) == {settled}


def test_replicas_have_to_be_free_where_a_batch_cannot_wait_for_another():
    """A query that runs for 60 of 100 ms is late when it waits for 40: at half load, one replica is not enough."""
    one = Demand(8.0, 1 / 0.06, 1.0, 0.06, 0.06, 0.1)
    need = need_of(one, BOUNDS)
    assert need.replicas > math.ceil(8.0 * 0.06 / RHO)
    assert "a batch takes 60 ms of an SLO of 100 ms" in need.reason
    assert waiting_share(8.0, 0.06, need.replicas, 0.04) <= 0.01 < waiting_share(8.0, 0.06, need.replicas - 1, 0.04)


@pytest.mark.parametrize(
    ("rate", "run_s", "servers", "share"), [(0.5, 1.0, 1, 0.5), (2.0, 1.0, 3, 4 / 9), (5.0, 1.0, 4, 1.0)]
)
def test_the_share_that_waits_is_erlang_s(rate, run_s, servers, share):
    assert waiting_share(rate, run_s, servers, 0.0) == pytest.approx(share)


def test_the_loads_of_several_frontends_add_up():
    load = VersionLoad(60.0, 60.0, 0.0, busy=0.6, batch_queries=1.0, batch_s=0.01, run_s=0.01, slo_s=0.5)
    both = demand_of([load, load], ready=2)
    assert (both.rate, both.throughput, both.slo_s, both.overloaded) == (120.0, pytest.approx(100.0), 0.5, False)


def test_small_batches_do_not_hide_what_large_ones_can_do():
    """Two queries in 10 ms, because no more came; but 32 were measured to take 16 ms."""
    load = VersionLoad(100.0, 100.0, 0.0, busy=0.5, batch_queries=32.0, batch_s=0.016, run_s=0.01, slo_s=0.5)
    assert demand_of([load], ready=1).throughput == pytest.approx(2000.0)


def test_replicas_that_refuse_queries_do_not_get_more_out_than_they_do():
    promised = VersionLoad(300.0, 90.0, 210.0, busy=0.2, batch_queries=1.0, batch_s=0.001, run_s=0.001, slo_s=0.5)
    found = demand_of([promised], ready=1)
    assert found.overloaded
    assert found.throughput == pytest.approx(90.0)
    assert need_of(found, BOUNDS).replicas == math.ceil(300 / (90 * RHO))


def test_frontends_that_measured_nothing_yet_ask_for_nothing():
    assert demand_of([], ready=1) == Demand(0, None)
