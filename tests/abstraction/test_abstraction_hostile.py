"""Callers and replicas that do what nobody would do, at the moment when it hurts most."""

import pytest
from abstraction_fakes import Bench, Recorded, item_error

from clipper.abstraction import dispatcher
from clipper.errors import ShuttingDown

KNOWN = [(1, 0.001), (8, 0.001)]


def occupied(bench):
    """Both places of the one replica are taken."""
    for row in (b"busy 1", b"busy 2"):
        bench.submit(row)
        bench.timers.turn()
        bench.timers.advance(0.0001)
    assert len(bench.link.waiting) == 2


def test_closing_in_an_answers_callback_also_answers_what_the_replica_dropped_and_somebody_joined():
    bench = Bench(run_s=None, warmup=KNOWN)

    def closes(call):
        call.results += 1
        bench.served.close(ShuttingDown("The server stops."))

    bench.served.submit(Recorded(b"first", bench.timers, bench.timers.now() + 0.05, closes))
    dropped = bench.submit(b"second", slo_s=0.05)
    bench.timers.turn()
    joined = bench.submit(b"second", slo_s=0.09)
    bench.link.reply(outputs=[b"1", item_error("too late", "deadline_exceeded")])
    bench.timers.turn()
    assert [dropped.code, joined.code] == ["shutting_down"] * 2
    bench.assert_idle()
    assert bench.timers.pending == 0


def test_the_bound_of_the_queue_holds_although_the_next_batch_could_take_more():
    bench = Bench(run_s=None, warmup=[(1, 0.0001), (4096, 0.001)], max_queue_length=100)
    occupied(bench)
    codes = [bench.submit(b"%d" % i).code for i in range(150)]
    assert codes == [None] * 100 + ["overloaded"] * 50
    bench.settle()


class _CountsReads(Recorded):
    """A call that counts how often anybody looks at a deadline."""

    __slots__ = ("until_s",)
    reads = 0

    @property
    def deadline_s(self):
        _CountsReads.reads += 1
        return self.until_s

    @deadline_s.setter
    def deadline_s(self, until_s):
        self.until_s = until_s


@pytest.mark.parametrize("stage", ["queued", "executing"])
def test_a_thousand_callers_of_one_row_who_leave_at_once_cost_no_million_steps(stage):
    bench = Bench(run_s=None, warmup=KNOWN)
    if stage == "queued":
        occupied(bench)
    calls = [_CountsReads(b"row", bench.timers, bench.timers.now() + 0.1) for _ in range(1000)]
    for call in calls:
        bench.served.submit(call)
    if stage == "executing":
        bench.timers.turn()
    _CountsReads.reads = 0
    for call in calls:
        bench.served.cancel(call)
    assert _CountsReads.reads < 5 * len(calls)
    bench.settle()
    bench.assert_idle()


def test_a_row_that_a_silent_replica_holds_is_run_elsewhere_for_those_who_come_later():
    bench = Bench(run_s=None, replicas=2, warmup=KNOWN)
    bench.submit(b"popular")
    bench.timers.turn()
    silent, other = sorted(bench.links.values(), key=lambda link: not link.waiting)
    bench.timers.advance(6.0)
    later = [bench.submit(b"popular"), bench.submit(b"popular")]
    bench.timers.turn()
    assert other.batches == [[b"popular"]]
    silent.reply()
    assert [call.results for call in later] == [0, 0]
    other.reply()
    assert [call.output for call in later] == [b"out:popular"] * 2
    bench.assert_idle()


def test_replicas_that_leave_while_a_deadline_is_due_and_nobody_waits_for_them_are_closed():
    bench = Bench(run_s=None, replicas=3, warmup=KNOWN)
    calls = []
    for i in range(3):
        calls.append(bench.submit(b"%d" % i))
        bench.timers.turn()
    bench.served.cancel(calls[0])
    bench.served.cancel(calls[1])
    bench.timers.time_s += 0.2
    bench.served.set_replicas({"r2": "unix:/r2"})
    assert [link.closed for link in bench.links.values()] == [True, True, False]
    bench.timers.advance(0.0)
    assert calls[2].code == "deadline_exceeded"
    bench.settle()
    bench.assert_idle()


def test_a_refused_query_for_a_row_that_a_silent_replica_holds_leaves_nothing():
    bench = Bench(run_s=None, warmup=KNOWN, max_queue_length=1)
    bench.submit(b"popular")
    bench.timers.turn()
    bench.timers.advance(6.0)
    bench.submit(b"other", slo_s=0.01)
    assert bench.submit(b"popular").code == "overloaded"
    bench.settle()
    bench.assert_idle()


def test_an_idle_replica_runs_what_can_be_on_time_before_a_hopeless_query_of_another_shape():
    bench = Bench(run_s=None, input_type="doubles", warmup=[(1, 0.01), (8, 0.01)])
    hopeless = bench.submit(b"x" * 16, slo_s=0.0105)
    possible = bench.submit(b"x" * 24, slo_s=0.05)
    bench.timers.turn()
    assert bench.link.batches == [[possible.row]]
    bench.timers.advance(0.01)
    bench.link.reply()
    assert bench.link.batches[1:] == [[hopeless.row]], "there is always a sample"
    bench.settle()
    bench.assert_idle()


@pytest.mark.parametrize("input_type", ["doubles", "bytes"])
def test_a_batch_has_no_more_bytes_than_fit_into_a_frame(input_type, monkeypatch):
    monkeypatch.setattr(dispatcher, "MAX_BATCH_BYTES", 100)
    bench = Bench(warmup=[(1, 0.001), (64, 0.001)], input_type=input_type)
    calls = [bench.submit(bytes([i]) * 40) for i in range(5)] + [bench.submit(b"z" * 400)]
    bench.timers.advance(0.09)
    assert sorted(len(batch) for batch in bench.link.batches) == [1, 1, 2, 2]
    assert all(call.output is not None for call in calls)


def test_admission_does_not_count_on_a_replica_that_is_overdue():
    bench = Bench(run_s=None, replicas=2, slo_s=0.05, warmup=[(1, 0.02), (64, 0.02)])
    for i in range(4):
        bench.submit(b"%d" % i)
        bench.timers.turn()
        bench.timers.advance(0.0185 if i == 1 else 0.0)
    silent, other = bench.links.values()
    assert (len(silent.waiting), len(other.waiting)) == (2, 2)
    bench.timers.advance(0.001)
    other.reply()
    bench.timers.advance(0.5)
    for i in range(3):
        bench.submit(b"next %d" % i)
        bench.timers.turn()
    assert bench.served._forecast.free_s[-1] > bench.timers.now() + 0.05, "the silent one helps nobody"
    bench.settle()
    bench.assert_idle()


def test_admission_goes_on_while_a_new_replica_runs_its_first_query():
    bench = Bench(run_s=None, slo_s=0.05, warmup=[(1, 0.03)])
    bench.warmup = []
    bench.set_replicas(2)
    bench.links["r1"].connect()
    calls = []
    for i in range(6):
        calls.append(bench.submit(b"%d" % i))
        bench.timers.turn()
    assert [len(link.waiting) for link in bench.links.values()] == [1, 1]
    assert {call.code for call in calls[3:]} == {"overloaded"}
    bench.settle()
    bench.assert_idle()


def test_a_run_from_which_rows_were_dropped_counts_for_the_rows_that_were_executed():
    bench = Bench(run_s=None, warmup=[(1, 0.001), (64, 0.064)])
    for i in range(40):
        bench.submit(b"%d" % i)
    bench.timers.turn()
    bench.timers.advance(0.002)
    bench.link.reply(outputs=[b"1", b"2"] + [item_error("late", "deadline_exceeded")] * 38)
    measured = bench.served.describe()["replicas"][0]["latency"]["ms_by_size"]
    assert measured == {"1": 1.0, "2": 2.0, "64": 64.0}
