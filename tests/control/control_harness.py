"""A controller with a real store, real artifacts and real replicas, and the means to wait for what they do."""

import asyncio
import contextlib
import io
import json
import os
import struct
import tarfile
from pathlib import Path

from clipper.control import desired as edits
from clipper.control.artifacts import ArtifactStore
from clipper.control.controller import Controller
from clipper.control.processes import ProcessManager, find_running
from clipper.domain import VersionSpec
from clipper.errors import StoreUnavailable
from clipper.rpc.link import dial
from clipper.settings import Settings
from clipper.state.sqlite import SqliteStore

SUMS = "def predict(xs):\n    return [float(x.sum()) for x in xs]\n"


def model_tar(source, **manifest):
    """An artifact of the python flavor whose ``model.py`` is ``source``."""
    fields = {"format": 1, "flavor": "python", "input_type": "doubles", "entry": "model.py:predict"} | manifest
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in (("manifest.json", json.dumps(fields)), ("model.py", source)):
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Server:
    """What `clipper up` has of control; ``changed`` is set whenever the store changes."""

    def __init__(self, store, data_dir, **settings):
        self.store = store
        self.artifacts = ArtifactStore(data_dir / "artifacts")
        self.manager = ProcessManager(store.installation_id, data_dir, orphan_timeout_s=30.0)
        self.settings = Settings(**{"reconcile_interval_s": 0.05, **settings})
        self.controller = Controller(store, self.artifacts, self.manager, self.settings)
        self.changed = asyncio.Event()
        store.subscribe(self.changed.set)

    async def until(self, predicate):
        """Waits until ``predicate(snapshot)`` is true and returns the snapshot.

        Asks again at every change of the store and at every interval: what a predicate reads beside the snapshot
        may change without one, and a store that does not answer yet may answer then.
        """
        while True:
            self.changed.clear()
            with contextlib.suppress(StoreUnavailable):
                snapshot = await self.store.snapshot()
                if predicate(snapshot):
                    return snapshot
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), self.settings.reconcile_interval_s)

    async def deploy(self, source, version="1", model="svm", **spec):
        async def stream():
            yield model_tar(source)

        artifact = await self.artifacts.put(stream(), 1 << 20)
        spec = VersionSpec(**{"version": version, "input_type": "doubles", **spec})
        await self.store.change(
            lambda desired, revision: edits.create_version(
                desired, model, spec, generation=revision, digest=artifact.digest, manifest=artifact.manifest, now=1.0
            )
        )

    async def edit(self, function, *args, **kwargs):
        await self.store.change(lambda desired, _revision: function(desired, *args, **kwargs))

    async def until_ready(self, version="1", model="svm", replicas=1):
        """Waits until the version has the traffic and so many ready replicas."""
        return await self.until(
            lambda s: s.observed.current.get(model) == version and len(ready_replicas(s, version, model)) == replicas
        )


def ready_replicas(snapshot, version="1", model="svm"):
    return [
        replica
        for replica in snapshot.observed.replicas.values()
        if (replica.model, replica.version, replica.state) == (model, version, "ready")
    ]


def status(snapshot, version="1", model="svm"):
    return snapshot.observed.statuses.get(model, {}).get(version)


@contextlib.asynccontextmanager
async def serving(data_dir: Path, *, stop_replicas=True, **settings):
    """A server; afterwards no process of its installation is left (with ``stop_replicas``), nor any of its tasks."""
    tasks_before = asyncio.all_tasks()
    store = await SqliteStore.open(data_dir)
    server = Server(store, data_dir, **settings)
    await server.controller.start()
    try:
        yield server
    finally:
        await server.controller.stop(stop_replicas=stop_replicas, grace_s=5.0)
        await store.close()
        assert asyncio.all_tasks() - tasks_before <= {asyncio.current_task()}
        assert not server.manager._processes
        assert not server.controller._links
        if stop_replicas:
            assert find_running(store.installation_id) == []


class _Caller:
    def __init__(self):
        self.ready = asyncio.get_running_loop().create_future()
        self.reply = asyncio.get_running_loop().create_future()

    def on_ready(self, link):
        if not self.ready.done():
            self.ready.set_result(link.hello)

    def on_reply(self, _link, _batch_id, reply):
        self.reply.set_result(reply)

    def on_refused(self, _link, _batch_id, reason):
        self.reply.set_exception(RuntimeError(reason))

    def on_draining(self, _link):
        pass

    def on_progress(self, _link, _state, _detail):
        pass

    def on_lost(self, _link, reason):
        if not self.reply.done():
            self.reply.set_exception(ConnectionError(reason))


async def ask(replica, *numbers):
    """The replica's answer to one row of doubles."""
    caller, loop = _Caller(), asyncio.get_running_loop()
    link = dial(replica.address, replica.replica_id, caller, loop=loop, clock=loop.time)
    try:
        await caller.ready
        link.send(1, [struct.pack(f"<{len(numbers)}d", *numbers)], [loop.time() + 30])
        return json.loads((await caller.reply).outputs[0])
    finally:
        link.close()
        if caller.reply.done() and not caller.reply.cancelled():
            caller.reply.exception()


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
