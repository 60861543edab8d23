"""The abstraction layer over real links to real replica processes."""

import asyncio
import functools
import json
import signal
import struct
import subprocess
import sys
import time

import pytest
import uvloop

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.call import Call
from clipper.abstraction.served import ServedVersion
from clipper.abstraction.timers import LoopTimers
from clipper.domain import Version, VersionSpec
from clipper.errors import ShuttingDown
from clipper.metrics import VersionMetrics
from clipper.rpc.link import dial

WAIT_S = 20.0


def pytest_asyncio_loop_factories(config, item):
    return {"uvloop": uvloop.new_event_loop}


class Replicas:
    """Processes that serve `m:1`, by id."""

    def __init__(self, folder, arguments):
        self.folder, self.arguments, self.processes = folder, arguments, {}

    def start(self, replica_id):
        command = [
            *(sys.executable, "-m", "clipper_container", "--model", "m", "--version", "1", "--generation", "7"),
            *("--replica", replica_id, "--listen", self.address(replica_id), *self.arguments),
        ]
        with (self.folder / f"{replica_id}.log").open("ab") as log:
            self.processes[replica_id] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def address(self, replica_id):
        return f"unix:{self.folder}/{replica_id}"

    def kill(self, replica_id):
        self.processes[replica_id].send_signal(signal.SIGKILL)
        self.processes[replica_id].wait()

    def stop_all(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def replicas(tmp_path):
    replicas = Replicas(tmp_path, ["--flavor", "noop", "--input-type", "doubles"])
    yield replicas
    replicas.stop_all()


@pytest.fixture
async def serve(replicas):
    served = []

    async def serve_from(ids, **spec):
        loop = asyncio.get_running_loop()
        one = ServedVersion(
            Version(model="m", spec=VersionSpec(version="1", input_type="doubles", **spec), generation=7),
            cache=PredictionCache(1 << 20),
            timers=LoopTimers(loop),
            dial=functools.partial(dial, loop=loop, clock=time.monotonic),
            metrics=VersionMetrics(),
            margin_s=0.001,
            max_queue_length=10_000,
            slo_s=1.0,
        )
        served.append(one)
        one.set_replicas({replica_id: replicas.address(replica_id) for replica_id in ids})
        await ready(one, len(ids))
        return one

    yield serve_from
    for one in served:
        one.close(ShuttingDown("The test is over."))
        assert set(one.leaks().values()) == {0}, one.leaks()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


async def ready(served, count):
    """Until so many replicas are ready."""
    async with asyncio.timeout(WAIT_S):
        while served._pool.ready_count < count:
            changed = asyncio.get_running_loop().create_future()
            served._events._pool_changed = _then(served._pool_changed, changed)
            if served._pool.ready_count < count:
                await changed
    served._events._pool_changed = served._pool_changed


def _then(first, changed):
    def both():
        first()
        if not changed.done():
            changed.set_result(None)

    return both


class Answers:
    """Submits rows and counts what comes back."""

    def __init__(self, served):
        self.served, self.calls, self.results = served, [], 0
        self._done = asyncio.Event()

    def submit(self, number, slo_s=1.0):
        now_s = time.monotonic()
        call = Call(struct.pack("<d", number), now_s, now_s + slo_s, self._resolved)
        self.calls.append(call)
        self.served.submit(call)

    def _resolved(self, _call):
        self.results += 1
        self._done.set()

    async def all(self):
        async with asyncio.timeout(WAIT_S):
            while self.results < len(self.calls):
                self._done.clear()
                await self._done.wait()
        assert self.results == len(self.calls)
        return [None if call.error is None else call.error.code for call in self.calls]


async def test_queries_are_batched_to_real_replicas_and_answered(replicas, serve):
    for replica_id in ("a", "b"):
        replicas.start(replica_id)
    served = await serve(["a", "b"])
    answers = Answers(served)
    for number in range(5000):
        answers.submit(number)
        if number % 100 == 0:
            await asyncio.sleep(0)
    assert set(await answers.all()) == {None}
    assert {call.trace.replica_id for call in answers.calls} == {"a", "b"}
    assert served._metrics.batch_size.count < 2500
    answers.submit(4999)
    assert answers.calls[-1].cached


async def test_a_killed_replica_loses_no_query_and_serves_again_when_it_is_back(replicas, serve):
    for replica_id in ("a", "b"):
        replicas.start(replica_id)
    served = await serve(["a", "b"], caching={"enabled": False})
    answers = Answers(served)
    for number in range(3000):
        answers.submit(number, slo_s=5.0)
        if number % 50 == 0:
            await asyncio.sleep(0)
        if number == 2000:
            await answers.all()  # which earns retries for more than can be under way at the kill
        if number == 2100:
            replicas.kill("a")
    codes = await answers.all()
    assert set(codes) == {None}
    replicas.start("a")
    await ready(served, 2)
    before = len(answers.calls)
    for number in range(1000):
        answers.submit(number, slo_s=5.0)
        if number % 50 == 0:
            await asyncio.sleep(0)
    await answers.all()
    assert {call.trace.replica_id for call in answers.calls[before:]} == {"a", "b"}


async def test_a_query_waits_for_the_only_replica_to_come_back_within_its_deadline(replicas, serve):
    replicas.start("a")
    served = await serve(["a"])
    replicas.kill("a")
    answers = Answers(served)
    answers.submit(1.0, slo_s=15.0)
    answers.submit(2.0, slo_s=0.05)
    replicas.start("a")
    assert (await answers.all())[0] is None


async def test_a_hanging_model_is_answered_for_at_the_deadline(tmp_path, serve, replicas):
    folder = tmp_path / "artifact"
    folder.mkdir()
    manifest = {"format": 1, "flavor": "python", "input_type": "doubles", "entry": "model.py:predict"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "model.py").write_text("import threading\ndef predict(rows):\n    threading.Event().wait()\n")
    replicas.arguments = ["--artifact", str(folder)]
    replicas.start("a")
    served = await serve(["a"])
    answers = Answers(served)
    answers.submit(1.0, slo_s=0.05)
    assert await answers.all() == ["deadline_exceeded"]
    # The model hangs for good: that there is an answer at all is the point. The bound is for a machine that stalls.
    assert time.monotonic() - answers.calls[0].deadline_s < 5.0
