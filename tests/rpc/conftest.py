"""Fixtures that start real replicas and links, and check that nothing of them stays behind."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from rpc_harness import Client, Gate, ReplicaProcess, free_port


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def artifact(tmp_path: Path) -> Callable[..., Path]:
    """Makes an artifact of the ``python`` flavor from source code."""
    numbers = itertools.count()

    def make(source: str, **manifest: Any) -> Path:
        folder = tmp_path / f"artifact{next(numbers)}"
        folder.mkdir()
        (folder / "model.py").write_text(source)
        fields = {"format": 1, "flavor": "python", "input_type": "doubles", "entry": "model.py:predict", **manifest}
        (folder / "manifest.json").write_text(json.dumps(fields))
        return folder

    return make


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., ReplicaProcess]]:
    """Starts replicas; by default of the ``noop`` flavor, on a unix socket, with the id ``r1``."""
    started: list[ReplicaProcess] = []

    def start_one(artifact: Path | None = None, *arguments: str, address: str | None = None) -> ReplicaProcess:
        where = ["--artifact", str(artifact)] if artifact is not None else ["--flavor", "noop"]
        address = address or f"unix:{tmp_path}/s{len(started)}"
        if address == "tcp":
            address = f"tcp:127.0.0.1:{free_port()}"
        replica = ReplicaProcess(tmp_path, address, ["--replica", "r1", *where, *arguments])
        started.append(replica)
        return replica

    yield start_one
    for replica in started:
        if replica.process.poll() is None:
            replica.kill()
        replica.process.wait()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Client]]:
    """Dials replicas; afterwards every link is closed, tells nothing more and leaves no task."""
    clients: list[Client] = []

    def connect_one(replica: ReplicaProcess | str, *, replica_id: str = "r1", **how: Any) -> Client:
        address = replica if isinstance(replica, str) else replica.address
        client = Client(address, replica_id, **how)
        clients.append(client)
        return client

    yield connect_one
    for client in clients:
        client.link.close()
    told = [len(client.seen.events) for client in clients]
    others = asyncio.all_tasks() - {asyncio.current_task()}
    dials = [task for task in others if task.get_name().startswith("dial ")]
    await asyncio.gather(*dials, return_exceptions=True)
    for client, count in zip(clients, told, strict=True):
        assert len(client.seen.events) == count
        assert client.link.outstanding == 0
        assert client.link._connection is None
        assert client.link._timer is None


@pytest.fixture
async def ready(connect: Callable[..., Client]) -> Callable[..., Any]:
    """Dials a replica and waits until it is ready."""

    async def connect_ready(replica: ReplicaProcess, **how: Any) -> Client:
        client = connect(replica, **how)
        await client.seen.until("ready")
        return client

    return connect_ready
