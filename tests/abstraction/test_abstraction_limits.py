"""Very short and very long SLOs, and versions that are configured anew while they serve."""

import pytest
from abstraction_fakes import Bench
from open_loop import drive

from clipper.domain import Batching, Caching, Limits


def configured(bench, **changes):
    spec = bench.version.spec.model_copy(update=changes)
    bench.version = bench.version.model_copy(update={"spec": spec})
    bench.served.configure(bench.version)


def test_an_slo_as_short_as_the_reply_margin_still_batches():
    bench = Bench(
        run_s=lambda size: 0.0001 + 2e-6 * size, slo_s=0.001, caching={"enabled": False}, warmup=[(1, 0.0001)]
    )
    outcome = drive(bench, 20_000, 0.3, warm_s=0.1)
    assert outcome.on_time > 0.99 * outcome.offered
    assert outcome.p99_s <= 0.001


@pytest.mark.parametrize("policy", ["aimd", "quantile", "deadline"])
@pytest.mark.parametrize("warmup", [[], [(1, 0.1), (8, 0.8)]])
def test_however_long_the_slo_no_batch_runs_until_its_replica_is_taken_for_hung(policy, warmup):
    bench = Bench(run_s=lambda size: 0.1 * size, slo_s=600.0, batching=policy, warmup=warmup)
    calls = [bench.submit(b"%d" % i) for i in range(2000)]
    bench.timers.advance(300.0)
    hang_timeout_s = bench.version.spec.limits.hang_timeout_s
    assert max(bench.run_s(len(batch)) for batch in bench.link.batches) < 0.6 * hang_timeout_s
    assert all(call.error is None or call.code == "overloaded" for call in calls)
    bench.settle()
    bench.assert_idle()


def test_a_new_hang_timeout_bounds_the_batches_at_once():
    bench = Bench(slo_s=600.0, warmup=[(1, 0.1), (64, 6.4)])
    before = bench.served.describe()["full_batch"]["queries"]
    configured(bench, limits=Limits(hang_timeout_s=4.0))
    assert bench.served.describe()["full_batch"]["queries"] < before / 4


@pytest.mark.parametrize("policy", ["aimd", "quantile"])
def test_scaling_a_version_leaves_its_batching_policy_what_it_has_learned(policy):
    bench = Bench(run_s=lambda size: 0.001 + 0.0001 * size, slo_s=0.02, batching=policy, caching={"enabled": False})
    drive(bench, 5000, 1.0)
    before = bench.served.describe()["full_batch"]["queries"]
    assert before > 20
    configured(bench, replicas=2)
    assert bench.served.describe()["full_batch"]["queries"] == before
    configured(bench, batching=Batching.model_validate("fixed:3"))
    assert bench.served.describe()["full_batch"]["queries"] == 3


@pytest.mark.parametrize("between", [{"caching": Caching(ttl_s=1.0)}, {"caching": Caching(enabled=False)}])
def test_what_was_kept_under_other_rules_for_caching_is_not_found_any_more(between):
    bench = Bench(warmup=[(1, 0.001)])
    bench.submit(b"row")
    bench.timers.advance(0.01)
    configured(bench, replicas=2)
    assert bench.submit(b"row").cached, "nothing was said about caching"
    configured(bench, **between)
    configured(bench, caching=Caching(ttl_s=2.0))
    assert not bench.submit(b"row").cached
    bench.settle()
    bench.assert_idle()


def test_a_slow_model_without_an_example_answers_a_burst_on_time_from_the_first_query_on():
    bench = Bench(run_s=lambda size: 0.02, slo_s=0.1)
    calls = [bench.submit(b"%d" % i) for i in range(10)]
    bench.timers.advance(0.2)
    assert [call.code for call in calls] == [None] * 10
    assert [len(batch) for batch in bench.link.batches] == [1, 3, 6]


def test_a_slow_model_that_gains_nothing_from_batches_answers_a_burst_on_time_too():
    bench = Bench(run_s=lambda size: 0.009 * size, slo_s=0.1)
    calls = [bench.submit(b"%d" % i) for i in range(10)]
    bench.timers.advance(0.2)
    assert [call.code for call in calls] == [None] * 10


def test_behind_a_batch_larger_than_any_measured_one_nothing_is_handed_over_before_its_reply():
    bench = Bench(run_s=None, slo_s=1.0)
    bench.submit(b"first")
    bench.timers.turn()
    for i in range(10):
        bench.submit(b"%d" % i)
    bench.timers.advance(0.1)
    assert [len(link.waiting) for link in bench.links.values()] == [1]
    bench.link.reply()
    assert len(bench.link.waiting) == 1
    bench.timers.advance(0.4)
    assert len(bench.link.waiting) == 1
    bench.settle()
    bench.assert_idle()
