"""Open-loop load on virtual time: who is answered on time when queries come faster than they can be served."""

import random
from dataclasses import dataclass

from abstraction_fakes import Bench


@dataclass
class Outcome:
    offered: int
    on_time: int
    late: int
    refused: int
    expired: int
    p99_s: float
    seconds: float
    mean_batch: float

    @property
    def goodput_per_s(self):
        return self.on_time / self.seconds


def drive(bench, rate_per_s, seconds, seed=1, warm_s=1.0, slo_s=None):
    """Poisson arrivals of distinct rows; what came in the first ``warm_s`` is not counted."""
    rng = random.Random(seed)
    timers = bench.timers
    calls = []
    at_s = start_s = timers.now()
    while at_s < start_s + warm_s + seconds:
        at_s += rng.expovariate(rate_per_s)
        timers.run_until(at_s)
        calls.append(bench.submit(b"%d" % len(calls), slo_s(rng) if slo_s else None))
        timers.turn()
    batches = sum(len(link.batches) for link in bench.links.values())
    rows = sum(len(batch) for link in bench.links.values() for batch in link.batches)
    bench.settle()
    counted = [call for call in calls if call.submitted_s >= start_s + warm_s]
    answered = [call for call in counted if call.error is None]
    latencies = sorted(call.answered_s - call.submitted_s for call in answered)
    on_time = sum(call.answered_s <= call.deadline_s for call in answered)
    codes = [call.code for call in counted]
    return Outcome(
        offered=len(counted),
        on_time=on_time,
        late=len(answered) - on_time,
        refused=codes.count("overloaded"),
        expired=codes.count("deadline_exceeded"),
        p99_s=latencies[int(0.99 * len(latencies))] if latencies else 0.0,
        seconds=seconds,
        mean_batch=rows / max(1, batches),
    )


def loaded(fixed_s, per_query_s, load, *, slo_s=0.02, replicas=1, seconds=3.0, noise=0.0, **spec):
    """A pool whose runs take ``fixed_s + per_query_s * size``, at ``load`` times what it could do in half SLOs."""
    rng = random.Random(7)
    capacity = replicas * max(1, int((slo_s / 2 - fixed_s) / per_query_s)) / max(slo_s / 2, fixed_s + per_query_s)

    def run_s(size):
        return (fixed_s + per_query_s * size) * (1 + noise * rng.expovariate(1))

    bench = Bench(run_s=run_s, replicas=replicas, slo_s=slo_s, caching={"enabled": False}, **spec)
    outcome = drive(bench, capacity * load, seconds)
    bench.assert_idle()
    return outcome, capacity
