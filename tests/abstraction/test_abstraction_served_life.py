"""A served version that is configured, described and closed."""

import pytest
from abstraction_fakes import Bench, Recorded, running

from clipper.domain import Batching, Caching
from clipper.errors import ShuttingDown

FAST = [(1, 0.001), (64, 0.001)]
OFF = Caching(enabled=False)


@pytest.fixture
def bench():
    """One replica that answers when the test says so."""
    bench = Bench(run_s=None)
    yield bench
    bench.settle()
    bench.assert_idle()
    bench.served.close(ShuttingDown("The server stops."))
    bench.assert_idle()
    assert bench.timers.pending == 0


def test_a_caller_that_raises_harms_no_neighbour(caplog):
    bench = Bench(run_s=None, warmup=[(1, 0.001), (8, 0.001)])

    def raises(call):
        raise RuntimeError("a fault of the caller")

    bench.served.submit(Recorded(b"a", bench.timers, bench.timers.now() + 0.05, raises))
    good = bench.submit(b"b")
    bench.timers.turn()
    bench.link.reply()
    assert good.output == b"out:b"
    assert "a fault of the caller" in caplog.text
    bench.assert_idle()


def test_a_query_submitted_from_a_callback_is_served(bench):
    later = []

    def asks_again(call):
        later.append(bench.submit(b"next"))

    bench.served.submit(Recorded(b"row", bench.timers, bench.timers.now() + 0.05, asks_again))
    bench.timers.turn()
    bench.link.reply()
    bench.timers.turn()
    bench.link.reply()
    assert later[0].output == b"out:next"


def test_a_full_queue_refuses_with_the_time_after_which_to_come_again():
    bench = Bench(run_s=None, max_queue_length=3)
    running(bench)
    waiting = [bench.submit(b"%d" % i) for i in range(3)]
    refused = bench.submit(b"one too many")
    assert refused.code == "overloaded"
    assert refused.error.retry_after_s > 0
    assert "3 queries waiting" in refused.error.message
    assert bench.metrics.refused == 1
    assert bench.submit(b"0").results == 0, "attaching needs no further place"
    assert [call.results for call in waiting] == [0, 0, 0]
    bench.settle()


def test_the_bound_holds_over_all_shapes():
    bench = Bench(run_s=None, max_queue_length=3, input_type="doubles")
    running(bench, b"12345678")
    codes = [bench.submit(b"x" * 8 * width).code for width in (1, 2, 3, 4)]
    assert codes == [None, None, None, "overloaded"]
    bench.settle()
    bench.assert_idle()


def test_rows_of_different_width_never_share_a_batch():
    bench = Bench(input_type="doubles", warmup=[(1, 0.001), (64, 0.001)])
    calls = [bench.submit(bytes([i]) * 8 * (1 + i % 3)) for i in range(30)]
    bench.timers.advance(0.09)
    assert all(len({len(row) for row in batch}) == 1 for batch in bench.link.batches)
    assert all(call.output is not None for call in calls)
    assert len(bench.link.batches) == 3


def test_an_idle_replica_always_gets_a_query_however_slow_the_model_was():
    bench = Bench(run_s=lambda size: 0.5, slo_s=0.02)
    for _ in range(3):
        call = bench.submit(b"%f" % bench.timers.now())
        bench.timers.advance(1.0)
        assert call.code == "deadline_exceeded"
    assert len(bench.link.batches) == 3
    bench.run_s = bench.link.run_s = lambda size: 0.001
    codes = []
    for i in range(20):
        codes.append(bench.submit(b"recovered%d" % i))
        bench.timers.advance(1.0)
    assert [call.code for call in codes] == [None] * 20


def test_a_busy_slow_replica_refuses_instead_of_letting_queries_expire():
    bench = Bench(run_s=lambda size: 0.05, slo_s=0.06, warmup=[(1, 0.05)])
    first = bench.submit(b"first")
    bench.timers.advance(0.01)
    second = bench.submit(b"second")
    assert second.code == "overloaded"
    bench.timers.advance(1.0)
    assert first.output is not None


def test_the_second_batch_is_handed_over_shortly_before_the_first_one_ends():
    bench = Bench(run_s=lambda size: 0.02, slo_s=0.2, warmup=[(1, 0.02), (64, 0.02)])
    bench.submit(b"first")
    bench.timers.turn()
    for i in range(15):
        bench.timers.advance(0.001)
        bench.submit(b"%d" % i)
    assert len(bench.link.batches) == 1
    bench.timers.advance(0.004)
    assert [len(batch) for batch in bench.link.batches] == [1, 15]
    assert len(bench.link.waiting) == 2


def test_delayed_batching_holds_a_small_batch_for_more_queries():
    bench = Bench(warmup=[(1, 0.001), (64, 0.001)], batching={"policy": "fixed", "size": 8, "delay_ms": 5})
    bench.submit(b"a")
    bench.timers.advance(0.004)
    bench.submit(b"b")
    assert bench.link.batches == []
    bench.timers.advance(0.0011)
    assert [len(batch) for batch in bench.link.batches] == [2]
    for i in range(8):
        bench.submit(b"%d" % i)
    bench.timers.turn()
    assert [len(batch) for batch in bench.link.batches] == [2, 8]
    bench.settle()
    bench.assert_idle()


def test_a_delay_never_makes_the_head_late():
    bench = Bench(warmup=[(1, 0.001), (64, 0.001)], batching={"policy": "fixed", "size": 8, "delay_ms": 1000})
    call = bench.submit(b"a", slo_s=0.02)
    bench.timers.advance(0.1)
    assert call.output is not None


def test_close_answers_everything_that_waits_and_whatever_comes_later():
    bench = Bench(run_s=None)
    calls = [running(bench), bench.submit(b"queued"), bench.submit(b"queued")]
    bench.served.close(ShuttingDown("The server stops."))
    assert [call.code for call in calls] == ["shutting_down"] * 3
    assert bench.submit(b"later").code == "shutting_down"
    assert bench.link.closed
    assert bench.timers.pending == 0
    assert not bench.served.has_ready_replica
    bench.assert_idle()
    bench.served.close(ShuttingDown("The server stops."))


def test_describe_says_what_batching_has_found_out_and_why():
    bench = Bench(run_s=lambda size: 0.001 + 0.0001 * size)
    for i in range(300):
        bench.submit(b"%d" % i)
    bench.timers.advance(0.05)
    described = bench.served.describe()
    (replica,) = described["replicas"]
    assert replica["state"] == "ready"
    assert replica["batching"]["policy"] == "deadline"
    assert "explores beyond" in replica["batching"]["why"]
    assert replica["latency"]["ms_by_size"]["1"] == 1.1
    assert described["full_batch"]["queries"] > replica["batching"]["size"]
    bench.settle()


def test_metrics_count_batches_model_time_and_queue_time():
    bench = Bench(run_s=lambda size: 0.01, warmup=[(1, 0.01), (64, 0.01)])
    bench.submit(b"a")
    bench.timers.advance(0.004)
    bench.submit(b"b")
    bench.submit(b"c")
    bench.timers.advance(0.09)
    assert (bench.metrics.batch_size.count, bench.metrics.batch_size.total) == (2, 3.0)
    assert bench.metrics.model_s.count == 2
    assert bench.metrics.queue_s.count == 3
    assert bench.metrics.queue_s.total == pytest.approx(2 * 0.004, abs=1e-9)


def test_batching_and_caching_can_be_changed_while_serving():
    bench = Bench(run_s=lambda size: 0.001, warmup=FAST)
    bench.submit(b"row")
    bench.timers.advance(0.01)
    spec = bench.version.spec.model_copy(update={"batching": Batching.model_validate("fixed:4"), "caching": OFF})
    bench.served.configure(bench.version.model_copy(update={"spec": spec}))
    assert bench.served.describe()["full_batch"]["queries"] == 4
    again = [bench.submit(b"row") for _ in range(8)]
    bench.timers.advance(0.05)
    assert [call.cached or call.coalesced for call in again] == [False] * 8
    assert [len(batch) for batch in bench.link.batches[1:]] == [4, 4]
    bench.settle()
    bench.assert_idle()


def test_a_new_slo_reaches_the_batching_policy():
    bench = Bench(run_s=lambda size: 0.001 * size, warmup=[(1, 0.001), (64, 0.064)])
    before = bench.served.describe()["full_batch"]["queries"]
    bench.served.slo_s = 0.02
    assert bench.served.describe()["full_batch"]["queries"] < before
