"""Whatever happens in whatever order: each call is resolved once or was cancelled, and nothing is left."""

import gc
import random
import sys
from collections import Counter

import pytest
from abstraction_fakes import Bench, Recorded, echo, item_error

from clipper.errors import ShuttingDown

STEPS = 1500


class Storm:
    """Random operations on one version; knows what each call may still become."""

    def __init__(self, seed):
        self.rng = rng = random.Random(seed)
        self.bench = Bench(
            run_s=None,
            replicas=rng.choice([1, 2, 3]),
            max_queue_length=rng.choice([5, 50, 10_000]),
            cache_bytes=rng.choice([0, 3000, 1 << 20]),
            warmup=rng.choice([[], [(1, 0.001), (64, 0.004)]]),
            batching=rng.choice(
                ["none", "fixed:8", "aimd", "quantile", "deadline", {"policy": "deadline", "delay_ms": 2}]
            ),
            caching={"enabled": rng.random() < 0.8, "ttl_s": rng.choice([None, 0.05])},
            input_type=rng.choice(["bytes", "doubles"]),
        )
        self.calls = []
        self.cancelled = set()
        self.row_number = 0
        self.inside_callbacks = 0
        self.happened = Counter()

    def row(self):
        number = self.rng.randrange(8)
        if self.rng.random() < 0.5:
            self.row_number += 1
            number = 1000 + self.row_number
        return number.to_bytes(8, "little") * self.rng.choice([1, 1, 1, 2])

    def submit(self):
        timers = self.bench.timers
        deadline_s = timers.now() + self.rng.choice([0.0, 0.0005, 0.005, 0.02, 0.1, 1.0])
        call = Recorded(self.row(), timers, deadline_s)
        call.on_result = self.resolved
        self.calls.append(call)
        self.bench.served.submit(call)

    def resolved(self, call):
        call._record(call)
        assert id(call) not in self.cancelled, "a cancelled call was answered"
        if self.rng.random() < 0.1 and self.inside_callbacks < 3:
            self.inside_callbacks += 1
            self.rng.choice([self.submit, self.submit, self.cancel, self.cancel, self.reply, self.disturb])()
            self.inside_callbacks -= 1

    def cancel(self):
        """Mostly something that is still under way, in whatever stage it may be."""
        live = [call for call in self.calls[-200:] if not call.results and id(call) not in self.cancelled]
        call = self.rng.choice(live if live and self.rng.random() < 0.9 else self.calls or [None])
        if call is None:
            return
        if not call.results:
            self.cancelled.add(id(call))
            self.happened["executing" if call.flight and call.flight.batch else "queued"] += 1
        self.bench.served.cancel(call)

    def advance(self):
        self.bench.timers.advance(self.rng.choice([0.0, 0.0001, 0.001, 0.01, 0.2]))

    def turn(self):
        self.bench.timers.turn()

    def reply(self):
        link = self.some_link(waiting=True)
        if link is not None:
            batch_id = self.rng.choice(list(link.waiting))
            rows, _ = link.waiting[batch_id]
            kind = self.rng.random()
            outputs = [
                echo(row) if kind < 0.7 or self.rng.random() < kind - 0.7
                else item_error("boom", self.rng.choice(["model_error", "deadline_exceeded"]))
                for row in rows
            ]  # fmt: skip
            link.reply(batch_id, outputs)

    def disturb(self):
        link = self.some_link()
        what = self.rng.choice(["lose", "connect", "connect", "connect", "drain", "refuse", "scale"])
        what = "scale" if link is None else what
        self.happened[what] += 1
        if what == "scale":
            self.bench.set_replicas(self.rng.choice([0, 1, 2, 3, 3]))
        elif what == "connect" and not link.ready:
            link.connect()
        elif what == "lose":
            link.lose()
        elif what == "drain" and link.ready:
            link.drain()
        elif what == "refuse" and link.waiting:
            link.refuse()

    def some_link(self, *, waiting=False):
        links = [link for link in self.bench.links.values() if not link.closed and (link.waiting or not waiting)]
        return self.rng.choice(links) if links else None

    def run(self, steps):
        actions = (
            [self.submit] * 10 + [self.reply] * 4 + [self.turn] * 3 + [self.advance] * 2 + [self.cancel, self.disturb]
        )
        for _ in range(steps):
            self.rng.choice(actions)()
            self.check_queue()

    def check_queue(self):
        """What waits stands by its own earliest deadline, for somebody, and will be answered at it."""
        served = self.bench.served
        lines = served._queue.shapes.values()
        waiting = [flight for line in lines for flight in line.flights]
        assert len(waiting) == served._queue.length
        assert [line.deadlines_s for line in lines] == [sorted(f.deadline_s for f in line.flights) for line in lines]
        for flight in waiting:
            assert flight.deadline_s == min(call.deadline_s for call in flight.calls)
            assert served._expiry.alarm.due_s <= flight.deadline_s
            assert flight.key is None or served._flights[flight.key] is flight

    def check(self):
        for call in self.calls:
            if id(call) in self.cancelled:
                assert call.results == 0
                continue
            assert call.results == 1, "a call was lost or answered twice"
            assert call.answered_s <= call.deadline_s + 1e-9 or call.submitted_s >= call.deadline_s
            assert call.output is None or call.output == echo(call.row), "a call got somebody else's answer"


@pytest.mark.parametrize("seed", range(24))
def test_every_call_resolves_once_and_nothing_is_left_whatever_happens(seed):
    storm = Storm(seed)
    storm.run(STEPS)
    if seed % 2:
        storm.bench.served.close(ShuttingDown("The server stops."))
    else:
        storm.bench.settle()
        storm.bench.assert_idle()
        storm.bench.served.close(ShuttingDown("The server stops."))
    storm.check()
    storm.bench.assert_idle()
    storm.turn()
    assert storm.bench.timers.pending == 0
    assert all(link.closed for link in storm.bench.links.values())
    assert storm.bench.served._flights == {}
    assert storm.happened["queued"]
    assert storm.happened["executing"]
    assert storm.happened["lose"]


def test_the_storms_are_large_enough_to_mean_something():
    storms = [Storm(seed) for seed in range(24)]
    for storm in storms:
        storm.run(STEPS)
    resolved = Counter(call.code for storm in storms for call in storm.calls if call.results)
    assert sum(len(storm.calls) for storm in storms) > 15_000
    assert {None, "overloaded", "deadline_exceeded", "model_error", "no_model_ready"} <= set(resolved)
    assert sum(call.coalesced for storm in storms for call in storm.calls) > 200
    assert sum(storm.bench.metrics.retries for storm in storms) > 20


def test_no_row_is_held_after_its_query_although_the_garbage_collector_does_not_look_at_flights():
    storm = Storm(4)
    storm.run(STEPS)
    storm.bench.settle()
    storm.bench.served.close(ShuttingDown("The server stops."))
    storm.turn()
    rows = {id(call.row): call.row for call in storm.calls}
    storm.calls.clear()
    storm.bench.cache.__init__(storm.bench.cache.max_bytes)
    for link in storm.bench.links.values():
        link.batches.clear()
    gc.collect()  # the fakes of replicas that left
    held = [row for row in rows.values() if sys.getrefcount(row) > 3]  # the dict, the loop, the argument
    assert held == []
