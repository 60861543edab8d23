"""Hand-written stand-ins at the two seams of the abstraction layer: time, and the link to a replica."""

import heapq
import itertools
from collections import deque
from types import SimpleNamespace

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.call import Call
from clipper.abstraction.served import ServedVersion
from clipper.domain import Version, VersionSpec
from clipper.metrics import VersionMetrics
from clipper.rpc.contract import BatchReply, Hello, ItemError

MARGIN_S = 0.001


class VirtualTimers:
    """A clock that moves when it is told to; what is due runs in order."""

    def __init__(self):
        self.time_s = 100.0
        self._soon = deque()
        self._later = []
        self._ids = itertools.count()

    def now(self):
        return self.time_s

    def call_soon(self, fn, *args):
        self._soon.append((fn, args))

    def call_at(self, when_s, fn, *args):
        handle = SimpleNamespace(cancelled=False)
        handle.cancel = lambda: setattr(handle, "cancelled", True)
        heapq.heappush(self._later, (when_s, next(self._ids), fn, args, handle))
        return handle

    def turn(self):
        """Run what was due soon, and what that makes due soon."""
        while self._soon:
            fn, args = self._soon.popleft()
            fn(*args)

    def run_until(self, until_s):
        self.turn()
        while self._later and self._later[0][0] <= until_s:
            when_s, _, fn, args, handle = heapq.heappop(self._later)
            if not handle.cancelled:
                self.time_s = max(self.time_s, when_s)
                fn(*args)
                self.turn()
        self.time_s = max(self.time_s, until_s)

    def advance(self, seconds):
        self.run_until(self.time_s + seconds)

    @property
    def pending(self):
        return len(self._soon) + sum(not entry[-1].cancelled for entry in self._later)


def echo(row):
    return b"out:" + row[:64]


class FakeLink:
    """A replica at the link's seam. Runs one batch at a time for ``run_s(size)``; None: until the test answers."""

    def __init__(self, address, replica_id, events, timers, run_s, hello):
        self.address, self.replica_id, self.events, self.timers, self.run_s = address, replica_id, events, timers, run_s
        self._hello, self.hello = hello, None
        self.ready = self.closed = False
        self.answer = echo
        self.waiting = {}
        self.batches = []
        self.busy_until_s = 0.0
        self.executed_late = 0
        self._connection = 0

    def connect(self):
        self.hello, self.ready, self.busy_until_s = self._hello, True, 0.0
        self._connection += 1
        self.events.on_ready(self)

    def send(self, batch_id, rows, deadlines_s):
        assert self.ready, "a batch was sent while the link was not ready"
        assert not self.closed
        assert len(rows) == len(deadlines_s) > 0
        assert all(deadline_s > self.timers.now() for deadline_s in deadlines_s), "an expired query was dispatched"
        self.waiting[batch_id] = (rows, deadlines_s)
        self.batches.append(list(rows))
        if self.run_s is not None:
            self.busy_until_s = max(self.timers.now(), self.busy_until_s) + self.run_s(len(rows))
            self.timers.call_at(self.busy_until_s, self._reply_if, self._connection, batch_id)

    def reply(self, batch_id=None, outputs=None):
        batch_id = next(iter(self.waiting)) if batch_id is None else batch_id
        rows, _ = self.waiting.pop(batch_id)
        outputs = [self.answer(row) for row in rows] if outputs is None else outputs
        self.events.on_reply(self, batch_id, BatchReply(outputs, 0.0, 0.001))

    def refuse(self, reason="it is draining"):
        self.ready = False
        batch_id = next(iter(self.waiting))
        del self.waiting[batch_id]
        self.events.on_refused(self, batch_id, reason)

    def drain(self):
        self.events.on_draining(self)

    def lose(self, reason="connection reset"):
        self.ready = False
        self.waiting.clear()
        self.events.on_lost(self, reason)

    def close(self):
        self.closed, self.ready = True, False
        self.waiting.clear()

    def _reply_if(self, connection, batch_id):
        if connection == self._connection and batch_id in self.waiting and not self.closed:
            self.reply(batch_id)


class Recorded(Call):
    """A call that remembers how often and how it was answered."""

    __slots__ = ("answered_s", "results", "timers")

    def __init__(self, row, timers, deadline_s, on_result=None):
        super().__init__(row, timers.now(), deadline_s, self._record if on_result is None else on_result)
        self.timers = timers
        self.results = 0
        self.answered_s = None

    def _record(self, _call):
        self.results += 1
        self.answered_s = self.timers.now()
        assert (self.output is None) != (self.error is None)

    @property
    def code(self):
        return None if self.error is None else self.error.code


class Bench:
    """One served version on virtual time with fake replicas."""

    def __init__(
        self, run_s=lambda size: 0.001, replicas=1, slo_s=0.1, max_queue_length=100_000, cache_bytes=1 << 20, **spec
    ):
        self.timers = VirtualTimers()
        self.metrics = VersionMetrics()
        self.cache = PredictionCache(cache_bytes)
        self.links = {}
        self.run_s = run_s
        self.warmup = spec.pop("warmup", [])
        self.version = Version(
            model="m", spec=VersionSpec(**({"version": "1", "input_type": "bytes"} | spec)), generation=7
        )
        self.served = ServedVersion(
            self.version,
            cache=self.cache,
            timers=self.timers,
            dial=self.dial,
            metrics=self.metrics,
            margin_s=MARGIN_S,
            max_queue_length=max_queue_length,
            slo_s=slo_s,
        )
        self.set_replicas(replicas)
        for link in list(self.links.values()):
            link.connect()

    def hello(self, replica_id):
        spec = self.version.spec
        return Hello("m", "1", 7, replica_id, "noop", spec.input_type, None, self.warmup, 1, "0")

    def dial(self, address, replica_id, events):
        link = FakeLink(address, replica_id, events, self.timers, self.run_s, self.hello(replica_id))
        self.links[replica_id] = link
        return link

    def set_replicas(self, count):
        self.served.set_replicas({f"r{i}": f"unix:/r{i}" for i in range(count)})

    @property
    def link(self):
        return next(iter(self.links.values()))

    def submit(self, row, slo_s=None):
        slo_s = self.served.slo_s if slo_s is None else slo_s
        call = Recorded(row, self.timers, self.timers.now() + slo_s)
        self.served.submit(call)
        return call

    def settle(self):
        """Let everything come to its end: replicas that wait for the test answer now."""
        for seconds in (0.0, 0.01, 60.0):
            self.timers.advance(seconds)
            while any(self._answer_waiting(link) for link in self.links.values()):
                self.timers.turn()

    def _answer_waiting(self, link):
        waits = link.run_s is None and link.waiting
        if waits:
            link.reply()
        return waits

    def assert_idle(self):
        assert set(self.served.leaks().values()) == {0}, self.served.leaks()


def item_error(message="boom", code="model_error"):
    return ItemError(code, message)


def running(bench, row=b"busy"):
    """Occupy a replica without any sample yet, so that what comes next waits in the queue."""
    call = bench.submit(row)
    bench.timers.turn()
    return call
