import pytest
from abstraction_fakes import Bench, Recorded, item_error, running

from clipper.abstraction.cache import LONGEST_KEY_BYTES
from clipper.domain import Caching
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


def test_a_query_is_answered_with_its_own_output_and_a_trace(bench):
    call = bench.submit(b"row")
    bench.timers.turn()
    bench.timers.advance(0.003)
    bench.link.reply()
    assert (call.output, call.error, call.results) == (b"out:row", None, 1)
    assert (call.trace.batch_size, call.trace.replica_id, call.trace.attempts) == (1, "r0", 1)
    assert not call.cached


def test_arrivals_of_one_turn_of_the_loop_share_a_batch():
    bench = Bench(run_s=None, warmup=[(1, 0.001), (64, 0.002)])
    calls = [bench.submit(b"%d" % i) for i in range(20)]
    assert bench.link.batches == []
    bench.timers.turn()
    assert [len(batch) for batch in bench.link.batches] == [20]
    bench.link.reply()
    assert [call.output for call in calls] == [b"out:%d" % i for i in range(20)]


def test_a_repeated_query_is_answered_by_the_cache_inside_submit(bench):
    bench.submit(b"row")
    bench.timers.turn()
    bench.link.reply()
    again = bench.submit(b"row")
    assert (again.output, again.cached, again.results) == (b"out:row", True, 1)
    assert (bench.metrics.cache_hits, bench.metrics.cache_misses) == (1, 1)


def test_identical_queries_under_way_run_once(bench):
    calls = [bench.submit(b"row") for _ in range(3)]
    bench.timers.turn()
    calls.append(bench.submit(b"row"))
    bench.link.reply()
    assert [call.output for call in calls] == [b"out:row"] * 4
    assert [call.coalesced for call in calls] == [False, True, True, True]
    assert bench.link.batches == [[b"row"]]
    assert bench.metrics.cache_coalesced == 3


def test_two_rows_with_one_digest_never_get_each_others_answer(monkeypatch):
    monkeypatch.setattr("clipper.abstraction.cache.xxh3_128_digest", lambda row, seed: b"the same")
    bench = Bench(run_s=None, warmup=[(1, 0.001), (8, 0.001)])
    a, b = b"a" * (LONGEST_KEY_BYTES + 1), b"b" * (LONGEST_KEY_BYTES + 1)
    first, second = bench.submit(a), bench.submit(b)
    bench.timers.turn()
    bench.link.reply()
    third = bench.submit(b)
    bench.timers.turn()
    bench.link.reply()
    assert [call.output[:5] for call in (first, second, third)] == [b"out:a", b"out:b", b"out:b"]
    bench.assert_idle()


def test_without_caching_identical_queries_run_each_by_itself():
    bench = Bench(run_s=None, caching={"enabled": False}, warmup=[(1, 0.001), (8, 0.001)])
    calls = [bench.submit(b"row") for _ in range(3)]
    bench.timers.turn()
    assert bench.link.batches == [[b"row"] * 3]
    bench.link.reply(outputs=[b"1", b"2", b"3"])
    assert [call.output for call in calls] == [b"1", b"2", b"3"]
    assert len(bench.cache) == 0


def test_cached_predictions_expire_as_configured():
    bench = Bench(caching={"ttl_s": 1.0})
    bench.submit(b"row")
    bench.timers.advance(0.5)
    assert bench.submit(b"row").cached
    bench.timers.advance(1.0)
    assert not bench.submit(b"row").cached
    bench.settle()


def test_an_error_is_of_its_item_only_and_is_not_kept(bench):
    calls = [bench.submit(row) for row in (b"good", b"bad")]
    bench.timers.turn()
    bench.link.answer = lambda row: item_error("ValueError: bad row") if row == b"bad" else b"1"
    while bench.link.waiting:
        bench.link.reply()
    assert [call.code for call in calls] == [None, "model_error"]
    assert "ValueError: bad row" in calls[1].error.message
    assert bench.submit(b"bad").results == 0


def test_a_query_waiting_in_the_queue_is_answered_at_its_deadline(bench):
    running(bench)
    call = bench.submit(b"row", slo_s=0.02)
    bench.timers.advance(0.0199)
    assert call.results == 0
    bench.timers.advance(0.0001)
    assert (call.code, call.results) == ("deadline_exceeded", 1)
    assert [b"row"] not in bench.link.batches


def test_a_query_that_executes_too_long_is_answered_at_its_deadline_and_still_fills_the_cache(bench):
    call = bench.submit(b"row", slo_s=0.02)
    bench.timers.advance(0.02)
    assert call.code == "deadline_exceeded"
    assert call.answered_s == call.deadline_s
    bench.link.reply()
    assert call.results == 1
    assert bench.submit(b"row").cached


def test_a_query_that_expired_while_the_loop_was_busy_is_never_dispatched(bench):
    call = bench.submit(b"row", slo_s=0.02)
    bench.timers.time_s += 0.03
    bench.timers.turn()
    assert call.code == "deadline_exceeded"
    assert bench.link.batches == []


def test_a_query_whose_deadline_has_passed_already_is_answered_at_once(bench):
    assert bench.submit(b"row", slo_s=0.0).code == "deadline_exceeded"


def test_the_replica_is_told_until_when_executing_makes_sense(bench):
    early, late = bench.submit(b"row", slo_s=0.02), bench.submit(b"row", slo_s=0.05)
    bench.timers.turn()
    ((_, deadlines_s),) = bench.link.waiting.values()
    assert deadlines_s == [late.deadline_s]
    assert early.deadline_s < late.deadline_s


def test_each_attached_call_expires_at_its_own_deadline(bench):
    calls = [bench.submit(b"row", slo_s=slo_s) for slo_s in (0.05, 0.01, 0.03)]
    bench.timers.advance(0.04)
    assert [call.code for call in calls] == [None, "deadline_exceeded", "deadline_exceeded"]
    assert [call.answered_s == call.deadline_s for call in calls] == [False, True, True]
    bench.link.reply()
    assert calls[0].output == b"out:row"


def test_attaching_an_earlier_deadline_pulls_the_flight_forward(bench):
    running(bench)
    for row, slo_s in ((b"second", 0.08), (b"third", 0.09), (b"first", 0.095)):
        bench.submit(row, slo_s=slo_s)
    bench.submit(b"first", slo_s=0.07)
    (shape,) = bench.served._queue.by_head()
    assert [flight.row for flight in shape.flights] == [b"first", b"second", b"third"]


def test_a_flight_falls_back_when_its_earliest_call_is_cancelled(bench):
    running(bench)
    bench.submit(b"a", slo_s=0.09)
    hurried = bench.submit(b"a", slo_s=0.05)
    bench.submit(b"b", slo_s=0.07)
    (shape,) = bench.served._queue.by_head()
    assert [flight.row for flight in shape.flights] == [b"a", b"b"]
    bench.served.cancel(hurried)
    assert [flight.row for flight in shape.flights] == [b"b", b"a"]


def test_a_queued_query_whose_last_caller_is_gone_leaves_the_queue(bench):
    running(bench)
    one, two = bench.submit(b"row"), bench.submit(b"row")
    bench.served.cancel(one)
    assert bench.served.leaks()["queued"] == 1
    bench.served.cancel(two)
    assert bench.served.leaks()["queued"] == 0
    while bench.link.waiting:
        bench.link.reply()
    assert (one.results, two.results) == (0, 0)
    assert [b"row"] not in bench.link.batches


def test_cancelling_an_executing_query_harms_no_neighbour_and_its_result_is_kept():
    bench = Bench(run_s=None, warmup=[(1, 0.001), (8, 0.001)])
    gone, stays = bench.submit(b"gone"), bench.submit(b"stays")
    bench.timers.turn()
    bench.served.cancel(gone)
    bench.link.reply()
    assert (gone.results, stays.output) == (0, b"out:stays")
    assert bench.submit(b"gone").cached
    bench.assert_idle()


def test_joining_an_execution_that_everybody_else_has_left(bench):
    first = bench.submit(b"row", slo_s=0.02)
    bench.timers.turn()
    bench.served.cancel(first)
    second = bench.submit(b"row", slo_s=0.05)
    bench.link.reply()
    assert (first.results, second.output) == (0, b"out:row")
    assert len(bench.link.batches) == 1


def test_what_the_replica_dropped_as_late_runs_again_for_one_who_joined_with_more_time(bench):
    first = bench.submit(b"row", slo_s=0.01)
    bench.timers.turn()
    second = bench.submit(b"row", slo_s=0.05)
    bench.timers.advance(0.011)
    bench.link.reply(outputs=[item_error("too late", "deadline_exceeded")])
    assert first.code == "deadline_exceeded"
    bench.timers.turn()
    bench.link.reply()
    assert (second.output, second.results) == (b"out:row", 1)


def test_cancelling_twice_or_after_the_answer_does_nothing(bench):
    call = bench.submit(b"row")
    bench.timers.turn()
    bench.link.reply()
    bench.served.cancel(call)
    bench.served.cancel(call)
    assert (call.results, call.output) == (1, b"out:row")


@pytest.mark.parametrize("outcome", ["answer", "error", "expiry", "close"])
def test_a_call_cancelled_by_its_neighbours_callback_is_not_answered(outcome):
    bench = Bench(run_s=None, warmup=[(1, 0.001), (8, 0.001)])
    calls = []

    def first_wins(call):
        call.results += 1
        for other in calls:
            if other is not call:
                bench.served.cancel(other)

    for row in (b"same", b"same", b"other"):
        call = Recorded(row, bench.timers, bench.timers.now() + 0.05, first_wins)
        calls.append(call)
        bench.served.submit(call)
    bench.timers.turn()
    if outcome == "answer":
        bench.link.reply()
    elif outcome == "error":
        bench.link.reply(outputs=[item_error(), item_error()])
    elif outcome == "expiry":
        bench.timers.advance(1.0)
    else:
        bench.served.close(ShuttingDown("The server stops."))
    assert sum(call.results for call in calls) == 1
    if bench.link.waiting and outcome != "close":
        bench.link.reply()
    bench.assert_idle()
