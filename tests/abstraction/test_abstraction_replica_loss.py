"""Replicas that are lost, stall or leave."""

import pytest
from abstraction_fakes import Bench, item_error

from clipper.abstraction.ejection import MAX_FAILURES

FAST = [(1, 0.001), (64, 0.001)]


def test_work_goes_to_the_idle_replica_and_in_turn():
    bench = Bench(run_s=None, replicas=3)
    for i in range(3):
        bench.submit(b"%d" % i)
        bench.timers.turn()
    assert [len(link.batches) for link in bench.links.values()] == [1, 1, 1]
    bench.settle()


def test_replicas_share_the_load_evenly():
    bench = Bench(run_s=lambda size: 0.002 + 0.0001 * size, replicas=4, slo_s=0.05)
    for i in range(8000):
        bench.submit(b"%d" % i)
        bench.timers.advance(0.0001)
    rows = [sum(len(batch) for batch in link.batches) for link in bench.links.values()]
    assert max(rows) < 1.2 * min(rows)
    bench.settle()


def failing(bench, rounds, queries=1):
    """Let replica r0 answer everything with errors while the others work."""
    bench.links["r0"].answer = lambda row: item_error("broken")
    for i in range(rounds):
        for j in range(queries):
            bench.submit(b"%d %d" % (i, j))
        bench.timers.advance(0.005)


def test_a_replica_that_fails_every_batch_is_ejected_after_five():
    bench = Bench(replicas=3)
    failing(bench, 60)
    assert bench.metrics.ejections >= 1
    assert len(bench.links["r0"].batches) == MAX_FAILURES
    assert [replica["state"] for replica in bench.served.describe()["replicas"]] == ["ejected", "ready", "ready"]


def test_an_ejected_replica_is_probed_with_one_query_and_comes_back_within_two_seconds_of_healing():
    bench = Bench(replicas=3, warmup=FAST)
    failing(bench, 1000, queries=4)
    probes = bench.links["r0"].batches[MAX_FAILURES:]
    assert probes
    assert all(len(batch) == 1 for batch in probes)
    bench.links["r0"].answer = lambda row: b"1"
    before = len(bench.links["r0"].batches)
    for i in range(420):
        bench.submit(b"healed%d" % i)
        bench.timers.advance(0.005)
    assert len(bench.links["r0"].batches) > before + 1
    assert bench.served.describe()["replicas"][0]["state"] == "ready"


def test_an_ejected_replica_does_not_delay_what_the_others_take():
    bench = Bench(run_s=lambda size: 0.02, replicas=2, slo_s=0.5, warmup=[(1, 0.02), (64, 0.02)])
    failing(bench, 60)
    bench.timers.advance(0.1)
    assert bench.metrics.ejections
    ejected_until_s = bench.served._pool.slots["r0"].ejection.until_s
    assert ejected_until_s > bench.timers.now() + 0.1
    bench.submit(b"first")
    bench.timers.turn()
    bench.submit(b"second")
    bench.timers.advance(0.019)
    assert len(bench.links["r1"].waiting) == 2
    bench.settle()


def test_the_last_replica_is_never_ejected():
    bench = Bench(replicas=1)
    failing(bench, 100)
    assert bench.metrics.ejections == 0
    assert len(bench.link.batches) == 100


def test_failing_replicas_meet_no_retry_storm():
    bench = Bench(run_s=None, replicas=3, caching={"enabled": False})
    calls = []
    for i in range(20_000):
        calls.append(bench.submit(b"%d" % i))
        bench.timers.advance(0.003)
        for link in bench.links.values():
            if link.waiting:
                link.lose()
                link.connect()
    bench.settle()
    attempts = sum(len(batch) for link in bench.links.values() for batch in link.batches)
    assert attempts / len(calls) <= 1.1
    assert all(call.results == 1 for call in calls)


def test_a_silent_replica_is_stalled_and_gets_no_work_until_it_answers():
    bench = Bench(run_s=None, replicas=2)
    bench.submit(b"hangs", slo_s=0.05)
    bench.timers.turn()
    silent, other = sorted(bench.links.values(), key=lambda link: not link.waiting)
    bench.timers.advance(6.0)
    assert "stalled" in {replica["state"] for replica in bench.served.describe()["replicas"]}
    for i in range(4):
        bench.submit(b"%d" % i)
        bench.timers.turn()
    assert (len(silent.batches), len(other.batches)) == (1, 1), "what the busy one cannot take waits in the queue"
    other.reply()
    bench.timers.turn()
    silent.reply()
    assert {replica["state"] for replica in bench.served.describe()["replicas"]} == {"ready"}
    bench.submit(b"again")
    bench.timers.turn()
    assert len(silent.batches) == 2
    bench.settle()


def test_of_queries_that_are_late_whatever_is_done_only_an_idle_replica_runs_one():
    bench = Bench(run_s=None, warmup=[(1, 0.002), (64, 0.002)])
    bench.link.lose()
    calls = [bench.submit(b"%d" % i, slo_s=0.0015) for i in range(3)]
    bench.link.connect()
    bench.timers.turn()
    assert [len(batch) for batch in bench.link.batches] == [1]
    bench.timers.advance(0.002)
    assert [call.code for call in calls] == ["deadline_exceeded"] * 3
    bench.settle()
    assert len(bench.link.batches) == 1


def test_the_time_without_an_answer_is_known_for_each_busy_replica():
    bench = Bench(run_s=None, replicas=2)
    bench.submit(b"row", slo_s=0.05)
    bench.timers.advance(3.0)
    (replica,) = bench.served.unanswered_s().items()
    assert replica == (next(link for link in bench.links.values() if link.waiting).replica_id, 3.0)
    bench.settle()
    assert bench.served.unanswered_s() == {}


def test_when_every_replica_is_silent_queries_expire_at_their_deadlines():
    bench = Bench(run_s=None, replicas=1)
    bench.submit(b"hangs", slo_s=0.05)
    bench.timers.advance(6.0)
    call = bench.submit(b"row", slo_s=0.05)
    bench.timers.advance(0.05)
    assert (call.code, call.answered_s) == ("deadline_exceeded", call.deadline_s)


@pytest.mark.parametrize("word", ["none", "fixed:8", "aimd", "quantile", "deadline"])
def test_every_batching_policy_serves(word):
    bench = Bench(run_s=lambda size: 0.001 + 0.00005 * size, replicas=2, batching=word)
    calls = []
    for i in range(500):
        calls.append(bench.submit(b"%d" % i))
        bench.timers.advance(0.001)
    bench.settle()
    assert all(call.output is not None for call in calls)
    bench.assert_idle()
