"""A replica that nobody talks to ends by itself."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rpc_harness import Client, Gate, ReplicaProcess, doubles

Start = Callable[..., ReplicaProcess]
Ready = Callable[..., Any]
Connect = Callable[..., Client]
Artifact = Callable[..., Path]


async def test_a_replica_without_peers_ends_by_itself(start: Start, ready: Ready) -> None:
    replica = start(None, "--orphan-timeout-s", "1")
    client = await ready(replica)
    assert await client.ask(doubles(1)) == [b"0"]
    client.link.close()
    assert await replica.exit_code() == 0
    assert replica.log()[-1]["event"] == "orphaned"


async def test_a_replica_is_not_orphaned_while_somebody_is_connected(start: Start, ready: Ready) -> None:
    replica = start(None, "--orphan-timeout-s", "1")
    first, second = await ready(replica), await ready(replica)
    first.link.close()
    with pytest.raises(subprocess.TimeoutExpired):
        await asyncio.to_thread(replica.process.wait, 1.5)
    assert await second.ask(doubles(1)) == [b"0"]


async def test_a_replica_without_peers_ends_even_if_its_model_never_finishes_loading(
    start: Start, connect: Connect, artifact: Artifact, gate: Gate
) -> None:
    replica = start(artifact(gate.code), "--orphan-timeout-s", "1")
    client = connect(replica)
    await client.seen.until("loading")
    with pytest.raises(subprocess.TimeoutExpired):
        await asyncio.to_thread(replica.process.wait, 2.5)
    client.link.close()
    assert await replica.exit_code() == 0
    assert replica.log()[-1]["event"] == "orphaned"
