"""Replicas outlive their server: the next one takes over what should run and ends what should not."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from control_harness import SUMS, ask, is_alive, ready_replicas, serving

from clipper.control import desired as edits
from clipper.state.sqlite import SqliteStore

SERVER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from control_harness import SUMS, Server
from clipper.state.sqlite import SqliteStore

async def main():
    data_dir = Path(sys.argv[1])
    store = await SqliteStore.open(data_dir)
    server = Server(store, data_dir)
    await server.controller.start()
    await server.deploy(SUMS, replicas=2)
    await server.deploy(SUMS, model="forest")
    await server.until_ready(replicas=2)
    await server.until_ready(model="forest")
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def killed_server(data_dir):
    """A server in a process of its own, killed with -9 once its replicas are ready; yields their pids."""
    here = str(Path(__file__).parent)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(data_dir), here, stdout=asyncio.subprocess.PIPE
    )
    assert await process.stdout.readline() == b"ready\n"
    process.kill()
    await process.wait()
    store = await SqliteStore.open(data_dir)
    snapshot = await store.snapshot()
    await store.close()
    pids = {replica_id: replica.pid for replica_id, replica in snapshot.observed.replicas.items()}
    assert len(pids) == 3
    assert all(is_alive(pid) for pid in pids.values())
    yield pids
    assert not any(is_alive(pid) for pid in pids.values())


async def test_replicas_outlive_a_killed_server_and_the_next_one_adopts_them(tmp_path):
    async with killed_server(tmp_path) as pids, serving(tmp_path) as server:
        # Ready again in this server's eyes: its own links have connected.
        await server.until(lambda _s: all(slot.phase == "ready" for slot in server.controller._slots.values()))
        snapshot = await server.until_ready(replicas=2)
        assert {r.replica_id: r.pid for r in snapshot.observed.replicas.values()} == pids
        victim = ready_replicas(snapshot)[0]
        os.kill(victim.pid, signal.SIGKILL)
        snapshot = await server.until(lambda s: any(r.restarts == 1 for r in ready_replicas(s)))
        (back,) = (r for r in ready_replicas(snapshot) if r.restarts)
        assert "adopted" in back.reason
        assert await ask(back, 1, 1) == 2


async def test_what_should_not_run_is_stopped_on_adoption_and_what_died_is_replaced(tmp_path):
    async with killed_server(tmp_path) as pids:
        os.kill(pids["svm.1.g1.r1"], signal.SIGKILL)
        store = await SqliteStore.open(tmp_path)
        await store.change(lambda desired, _revision: edits.delete_model(desired, "forest"))
        await store.close()
        async with serving(tmp_path) as server:
            snapshot = await server.until(
                lambda s: len(ready_replicas(s)) == 2 and len(s.observed.replicas) == 2
                and s.observed.replicas["svm.1.g1.r1"].pid not in {None, pids["svm.1.g1.r1"]}
            )  # fmt: skip
            assert snapshot.observed.replicas["svm.1.g1.r0"].pid == pids["svm.1.g1.r0"]
            assert snapshot.observed.current == {"svm": "1"}


async def test_stopping_the_server_can_leave_the_replicas_for_the_next(tmp_path):
    async with serving(tmp_path, stop_replicas=False) as server:
        await server.deploy(SUMS)
        (before,) = ready_replicas(await server.until_ready())
    assert is_alive(before.pid)
    async with serving(tmp_path) as server:
        (after,) = ready_replicas(await server.until_ready())
        assert after.pid == before.pid
    assert not is_alive(before.pid)
