"""Goodput and lateness under open-loop load, in virtual time."""

import pytest
from abstraction_fakes import Bench
from open_loop import drive, loaded

SLO_S = 0.02
LOADS = (0.5, 1.0, 1.5, 3.0)


@pytest.mark.parametrize(
    ("fixed_s", "per_query_s", "replicas"),
    [(0.001, 0.0001, 1), (0.004, 0.0001, 1), (0.003, 0.001, 1), (0.001, 0.0002, 3)],
)
def test_goodput_does_not_collapse_under_overload_and_admitted_queries_are_on_time(fixed_s, per_query_s, replicas):
    outcomes = {load: loaded(fixed_s, per_query_s, load, slo_s=SLO_S, replicas=replicas)[0] for load in LOADS}
    peak = max(outcome.goodput_per_s for outcome in outcomes.values())
    assert outcomes[3.0].goodput_per_s >= 0.9 * peak
    for outcome in outcomes.values():
        assert outcome.p99_s <= SLO_S
        assert outcome.late + outcome.expired <= 0.01 * (outcome.offered - outcome.refused)
    assert outcomes[0.5].refused <= 0.01 * outcomes[0.5].offered


@pytest.mark.parametrize("policy", ["aimd", "quantile"])
def test_the_papers_policies_keep_their_promises_under_the_same_admission(policy):
    outcomes = [loaded(0.001, 0.0001, load, slo_s=SLO_S, batching=policy)[0] for load in (1.0, 3.0)]
    assert outcomes[1].goodput_per_s >= 0.9 * max(outcome.goodput_per_s for outcome in outcomes)
    assert all(outcome.p99_s <= SLO_S for outcome in outcomes)


def test_batching_pays_where_the_fixed_cost_dominates():
    single = loaded(0.001, 0.00002, 1.0, slo_s=SLO_S, batching="none")[0]
    batched = loaded(0.001, 0.00002, 1.0, slo_s=SLO_S)[0]
    assert batched.goodput_per_s > 10 * single.goodput_per_s


def test_noisy_runs_cost_some_goodput_but_few_promises():
    outcome, capacity = loaded(0.001, 0.0001, 3.0, slo_s=SLO_S, noise=0.1)
    assert outcome.goodput_per_s > 0.75 * capacity
    assert outcome.expired + outcome.late <= 0.05 * (outcome.offered - outcome.refused)


def test_batches_use_about_half_of_the_slo_when_saturated():
    outcome, _ = loaded(0.001, 0.0001, 3.0, slo_s=SLO_S)
    assert 60 <= outcome.mean_batch <= 90


def test_short_timeouts_among_long_ones_are_admitted_only_when_they_can_be_kept():
    bench = Bench(run_s=lambda size: 0.001 + 0.0001 * size, slo_s=SLO_S, caching={"enabled": False})
    outcome = drive(bench, 12_000, 2.0, slo_s=lambda rng: 0.006 if rng.random() < 0.1 else SLO_S)
    assert outcome.goodput_per_s > 7_000
    assert outcome.late + outcome.expired <= 0.02 * (outcome.offered - outcome.refused)


def test_capacity_that_halves_and_comes_back_is_followed():
    speed = [1.0]
    bench = Bench(run_s=lambda size: (0.001 + 0.0001 * size) / speed[0], slo_s=SLO_S, caching={"enabled": False})
    full = drive(bench, 12_000, 1.0)
    speed[0] = 0.5
    half = drive(bench, 12_000, 1.0, seed=2)
    speed[0] = 1.0
    again = drive(bench, 12_000, 1.0, seed=3)
    assert half.goodput_per_s > 0.8 * 0.75 * 5_000
    assert again.goodput_per_s > 0.9 * full.goodput_per_s
