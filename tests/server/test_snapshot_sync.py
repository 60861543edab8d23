"""How a frontend follows the store."""

import asyncio
from types import SimpleNamespace

from clipper.domain import Snapshot
from clipper.server.sync import SnapshotSync


class FakeStore:
    """Nothing changes but what the test says."""

    def __init__(self):
        self.looked = asyncio.Event()

    def subscribe(self, _callback):
        return lambda: None

    async def revision(self):
        self.looked.set()
        return 1

    async def snapshot(self):
        return Snapshot(revision=1)


async def test_a_cancellation_that_meets_a_change_ends_it():
    """At shutdown the controller still reports; whichever turn of the loop the two meet in, it has to end."""
    for turns in range(4):
        store = FakeStore()
        sync = SnapshotSync(store, SimpleNamespace(revision=1), interval_s=60.0, clock=lambda: 0.0)
        task = asyncio.create_task(sync.run())
        await store.looked.wait()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        sync.look()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=1.0)
        assert task.done()
