import msgspec
from abstraction_fakes import Bench

from clipper.errors import ShuttingDown

FAST = [(1, 0.001), (64, 0.001)]


def test_a_version_without_replicas_says_so_at_once():
    bench = Bench(replicas=0)
    call = bench.submit(b"row")
    assert call.code == "no_model_ready"
    assert "it has none" in call.error.message
    assert call.error.retry_after_s > 0


def test_a_replica_that_was_never_ready_is_not_waited_for():
    bench = Bench(replicas=0)
    bench.set_replicas(1)
    bench.link.events.on_progress(bench.link, "loading", "reads the model")
    call = bench.submit(b"row")
    assert call.code == "no_model_ready"
    assert "r0 is loading: reads the model" in call.error.message


def test_readiness_changes_are_told_once_each():
    bench = Bench(replicas=0)
    told = []
    bench.served.on_ready_changed = lambda: told.append(bench.served.has_ready_replica)
    bench.set_replicas(2)
    for link in bench.links.values():
        link.connect()
    bench.links["r0"].lose()
    assert told == [True]
    bench.links["r1"].lose()
    assert told == [True, False]
    bench.links["r1"].connect()
    assert told == [True, False, True]
    bench.served.close(ShuttingDown("The server stops."))
    assert told == [True, False, True, False]


def test_the_width_is_known_from_the_replica_when_the_manifest_has_none():
    bench = Bench(replicas=0)
    assert bench.served.input_width is None
    bench.set_replicas(1)
    bench.link._hello = msgspec.structs.replace(bench.link._hello, input_width=64)
    bench.link.connect()
    assert bench.served.input_width == 64


def test_a_replica_of_something_else_behind_the_address_gets_no_query():
    bench = Bench(replicas=0)
    bench.set_replicas(1)
    bench.link._hello = msgspec.structs.replace(bench.link._hello, generation=6)
    bench.link.connect()
    assert not bench.served.has_ready_replica
    assert bench.link.closed
    call = bench.submit(b"row")
    assert call.code == "no_model_ready"
    assert "expected" in call.error.message


def test_a_lost_batch_runs_again_on_another_replica():
    bench = Bench(run_s=None, replicas=2, warmup=FAST)
    calls = [bench.submit(b"%d" % i) for i in range(5)]
    bench.timers.turn()
    lost, other = sorted(bench.links.values(), key=lambda link: not link.waiting)
    lost.lose()
    bench.timers.turn()
    other.reply()
    assert [call.output for call in calls] == [b"out:%d" % i for i in range(5)]
    assert {call.trace.attempts for call in calls} == {2}
    assert bench.metrics.retries == 5
    bench.assert_idle()


def test_a_lost_batch_runs_again_on_the_same_replica_if_it_is_back_in_time():
    bench = Bench(run_s=None)
    call = bench.submit(b"row")
    bench.timers.turn()
    bench.link.lose()
    bench.timers.advance(0.05)
    assert call.results == 0
    bench.link.connect()
    bench.timers.turn()
    bench.link.reply()
    assert call.output == b"out:row"


def test_a_query_is_retried_once_and_then_answered_with_the_reason():
    bench = Bench(run_s=None, replicas=2)
    call = bench.submit(b"poison")
    bench.timers.turn()
    for _ in range(2):
        link = next(link for link in bench.links.values() if link.waiting)
        link.lose("connection reset")
        bench.timers.turn()
    assert (call.code, call.results) == ("model_error", 1)
    assert link.replica_id in call.error.message
    assert "connection reset" in call.error.message
    assert sum(len(link.batches) for link in bench.links.values()) == 2
    bench.assert_idle()


def test_a_retried_query_takes_the_place_of_its_deadline():
    bench = Bench(run_s=None, replicas=1)
    first = bench.submit(b"first", slo_s=0.05)
    bench.timers.turn()
    bench.link.lose()
    bench.submit(b"later", slo_s=0.09)
    (shape,) = bench.served._queue.by_head()
    assert [flight.row for flight in shape.flights] == [b"first", b"later"]
    bench.settle()
    assert first.code == "no_model_ready"


def test_while_a_replica_is_reconnecting_queries_wait_as_long_as_their_deadlines_allow():
    bench = Bench(run_s=None)
    bench.link.lose("killed")
    patient, hurried = bench.submit(b"patient", slo_s=5.0), bench.submit(b"hurried", slo_s=0.01)
    bench.timers.advance(1.0)
    assert (patient.results, hurried.code) == (0, "no_model_ready")
    assert "killed" in hurried.error.message
    bench.link.connect()
    bench.timers.turn()
    bench.link.reply()
    assert patient.output == b"out:patient"


def test_a_replica_that_is_gone_for_long_is_not_waited_for():
    bench = Bench(run_s=None)
    bench.link.lose()
    bench.timers.advance(31.0)
    assert bench.submit(b"row", slo_s=60.0).code == "no_model_ready"


def test_a_lost_query_nobody_waits_for_any_more_is_dropped():
    bench = Bench(run_s=None, replicas=2)
    call = bench.submit(b"row")
    bench.timers.turn()
    bench.served.cancel(call)
    next(link for link in bench.links.values() if link.waiting).lose()
    bench.timers.turn()
    bench.assert_idle()
    assert sum(len(link.batches) for link in bench.links.values()) == 1


def test_a_refused_batch_waits_again_and_that_is_no_retry():
    bench = Bench(run_s=None, replicas=2, warmup=FAST)
    calls = [bench.submit(b"%d" % i) for i in range(3)]
    bench.timers.turn()
    draining, other = sorted(bench.links.values(), key=lambda link: not link.waiting)
    draining.refuse()
    bench.timers.turn()
    other.lose()
    other.connect()
    bench.timers.turn()
    other.reply()
    assert all(call.output is not None for call in calls)
    assert bench.metrics.retries == 3


def test_a_draining_replica_answers_what_it_has_and_gets_nothing_new():
    bench = Bench(run_s=None, replicas=2, warmup=FAST)
    first = bench.submit(b"first")
    bench.timers.turn()
    draining, other = sorted(bench.links.values(), key=lambda link: not link.waiting)
    draining.drain()
    second = bench.submit(b"second")
    bench.timers.turn()
    assert len(draining.batches) == 1
    draining.reply()
    other.reply()
    assert (first.output, second.output) == (b"out:first", b"out:second")


def test_a_replica_that_leaves_answers_what_it_has_and_is_closed_then():
    bench = Bench(run_s=None, replicas=1)
    call = bench.submit(b"row")
    bench.timers.turn()
    old = bench.link
    bench.served.set_replicas({"r1": "unix:/r1"})
    assert not old.closed
    old.reply()
    assert call.output == b"out:row"
    assert old.closed
    bench.assert_idle()


def test_a_replica_that_leaves_is_closed_at_the_last_deadline_if_it_does_not_answer():
    bench = Bench(run_s=None, replicas=1)
    call = bench.submit(b"row", slo_s=0.05)
    bench.timers.turn()
    old = bench.link
    bench.served.set_replicas({"r1": "unix:/r1"})
    bench.timers.advance(0.05)
    assert call.results == 1
    assert old.closed
    bench.assert_idle()


def test_a_replica_at_a_new_address_is_dialled_anew():
    bench = Bench(replicas=1)
    old = bench.link
    bench.served.set_replicas({"r0": "unix:/elsewhere"})
    assert old.closed
    assert bench.links["r0"].address == "unix:/elsewhere"


def test_removing_the_last_replica_answers_what_waits():
    bench = Bench(run_s=None)
    bench.link.lose()
    call = bench.submit(b"row", slo_s=10.0)
    bench.served.set_replicas({})
    assert call.code == "no_model_ready"
    bench.assert_idle()
