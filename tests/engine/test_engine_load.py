"""What a frontend measures of a version's queries: rates that follow a burst and are steady otherwise."""

import random

import pytest
from engine_bench import served

from clipper.engine.load import LoadMeter
from clipper.metrics import VersionMetrics

KEY = ("m", "1")


class Metered:
    """Counters that grow, and a meter that is ticked once a second."""

    def __init__(self):
        self.meter, self.metrics, self.now_s = LoadMeter(), VersionMetrics(), 0.0
        self.served = served().engine.fleet.versions
        self.meter.tick({KEY: self.metrics}, 0.0)

    def second(self, queries):
        self.now_s += 1.0
        self.metrics.cache_misses += queries
        for _ in range(queries):
            self.metrics.batch_size.observe(1)
            self.metrics.model_s.observe(0.002)
        self.meter.tick({KEY: self.metrics}, self.now_s)
        return self.meter.loads(self.served)[KEY]


def test_a_steady_rate_is_what_is_measured():
    metered = Metered()
    load = [metered.second(100) for _ in range(30)][-1]
    assert (load.arrivals_per_s, load.executed_per_s, load.busy) == pytest.approx((100.0, 100.0, 0.2))


def test_a_burst_is_seen_within_two_seconds():
    metered = Metered()
    for _ in range(20):
        metered.second(50)
    metered.second(300)
    assert metered.second(300).arrivals_per_s == pytest.approx(300.0)


def test_chance_alone_is_no_burst():
    metered, draw = Metered(), random.Random(7)
    rates = [metered.second(sum(draw.random() < 0.01 for _ in range(500))).arrivals_per_s for _ in range(300)][10:]
    assert max(rates) < 10, "about five a second"


def test_what_is_refused_or_late_is_dropped_and_what_is_not_cached_counts():
    metered = Metered()
    metered.metrics.uncached += 10
    metered.metrics.refused += 3
    metered.metrics.failures["deadline_exceeded"] += 1
    load = metered.second(0)
    assert (load.arrivals_per_s, load.dropped_per_s) == (10.0, 4.0)


def test_what_is_dropped_in_passing_does_not_count():
    metered = Metered()
    metered.second(10)
    metered.metrics.refused += 20
    assert metered.second(30).dropped_per_s == 0
    metered.metrics.refused += 5
    assert metered.second(30).dropped_per_s == pytest.approx(5)


def test_queries_of_a_version_that_keeps_nothing_are_counted():
    bench = served()
    bench.version(caching={"enabled": False})
    bench.apply()
    for _ in range(3):
        bench.ask(b"same")
    bench.timers.advance(0.1)
    assert bench.engine.fleet.metrics[KEY].uncached == 3


def test_capacity_is_that_of_the_largest_batch_that_the_slo_has_room_for():
    bench = served(run_s=lambda size: 0.010 + 0.001 * size)
    version = bench.engine.fleet.versions[KEY]
    assert version.capacity() == (1.0, 0.0, 0.0)
    for count in (1, 2, 4, 8, 16, 16):
        for i in range(count):
            bench.ask(b"%d-%d" % (count, i))
        bench.timers.advance(0.2)
    size, batch_s, run_s = version.capacity()
    assert size >= 8
    assert batch_s <= 0.047
    assert size / batch_s > 4 * (1 / run_s), "batches pay"
