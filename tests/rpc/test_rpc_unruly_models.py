"""What a model's code may do to the process that it lives in, without harm to the replica's peers."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rpc_harness import WAIT_S, Client, Gate, ReplicaProcess, doubles

from clipper.rpc.link import ItemError

Start = Callable[..., ReplicaProcess]
Ready = Callable[..., Any]
Artifact = Callable[..., Path]

FORKS = """
import multiprocessing, signal
context = multiprocessing.get_context("fork")
def predict(inputs):
    worker = context.Process(target=signal.pause)
    worker.start()
    worker.terminate()
    worker.join(10)
    code = worker.exitcode
    worker.kill()
    return [code]
"""


async def test_worker_processes_of_a_model_end_on_sigterm_and_the_replica_goes_on(
    start: Start, ready: Ready, artifact: Artifact
) -> None:
    client = await ready(start(artifact(FORKS)))
    for _ in range(20):
        assert await client.ask(doubles(1)) == [str(-signal.SIGTERM).encode()]
    assert client.seen.of("draining") == client.seen.of("lost") == []


@pytest.mark.parametrize("where", ["import os; os.fork()\ndef predict(inputs):\n    ", "def predict(inputs):\n    "])
async def test_a_forked_process_that_runs_on_does_not_answer_as_well(
    start: Start, ready: Ready, artifact: Artifact, where: str
) -> None:
    source = f"{where}import os; os.fork()\n    return [1.5]"
    replica = start(artifact(source))
    client = await ready(replica)
    for _ in range(3):
        assert await client.ask(doubles(1)) == [b"1.5"]
    assert client.seen.of("lost") == []
    assert replica.socket_exists()


async def test_a_killed_replica_is_lost_at_once_though_its_models_processes_live(
    start: Start, ready: Ready, artifact: Artifact, gate: Gate
) -> None:
    source = f"import os\ndef predict(inputs):\n    if os.fork() == 0:\n        {gate.code}\n    return [0]"
    replica = start(artifact(source))
    client = await ready(replica)
    assert await client.ask(doubles(1)) == [b"0"]
    release = await gate.reached()
    replica.kill()
    await client.seen.until("lost")
    release()


async def test_what_a_model_prints_after_closing_its_standard_streams_reaches_no_peer(
    start: Start, ready: Ready, artifact: Artifact
) -> None:
    source = """
import os
def predict(inputs):
    if inputs[0, 0] == 1:
        os.closerange(0, 3)
    else:
        os.write(1, b"x" * 100), os.write(2, b"y" * 100)
        raise ValueError("logged")
    return [0]
"""
    replica = start(artifact(source))
    first = await ready(replica)
    assert await first.ask(doubles(1)) == [b"0"]
    clients = [first, *[await ready(replica) for _ in range(3)]]  # these would be 0, 1 and 2
    for client in clients:
        assert await client.ask(doubles(2)) == [ItemError("model_error", "ValueError: logged")]
    assert all(client.seen.of("lost") == [] for client in clients)
    assert replica.log()[-1]["event"] == "predict_raised"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ValueError('caf\\udce9')", "ValueError: caf\\udce9"),
        (
            "class E(Exception):\n        def __str__(self): raise SystemExit\n    raise E",
            "E: (its message cannot be shown)",
        ),
    ],
)
async def test_an_exception_without_a_readable_message_is_its_rows_error(
    start: Start, ready: Ready, artifact: Artifact, source: str, message: str
) -> None:
    client = await ready(start(artifact(f"def predict(inputs):\n    {source}")))
    for _ in range(2):
        assert await client.ask(doubles(1)) == [ItemError("model_error", message)]


async def test_a_thread_of_the_models_does_not_keep_a_stopped_replica(
    start: Start, ready: Ready, artifact: Artifact
) -> None:
    source = "import signal, threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    replica = start(artifact(f"{source}def predict(inputs):\n    return [0]"))
    client = await ready(replica)
    replica.kill(signal.SIGTERM)
    assert await replica.exit_code() == 0
    await client.seen.until("lost")


async def test_a_newcomer_is_greeted_and_a_leaver_is_seen_while_a_long_batch_runs(
    start: Start, ready: Ready, artifact: Artifact, gate: Gate, tmp_path: Path
) -> None:
    source = f"""
def predict(inputs):
    print(inputs[0, 0], end=" ", file=open({str(tmp_path / "ran")!r}, "a"), flush=True)
    if inputs[0, 0] == 1: {gate.code}
    return [0]
"""
    replica = start(artifact(source), "--log-level", "debug")
    client = await ready(replica)
    batch_id = client.send([doubles(1)])
    release = await gate.reached()
    newcomer: Client = await ready(replica)
    newcomer.send([doubles(2)])
    newcomer.link.close()
    async with asyncio.timeout(WAIT_S):
        while not any(event["event"] == "peer_gone" for event in replica.log()):  # noqa: ASYNC110  # of another process
            await asyncio.sleep(0.01)
    release()
    assert (await client.reply(batch_id)).outputs == [b"0"]
    assert await client.ask(doubles(3)) == [b"0"]
    assert (tmp_path / "ran").read_text() == "1.0 3.0 "


async def test_the_end_of_a_large_reply_does_not_wait_for_the_next_batch(
    start: Start, ready: Ready, artifact: Artifact, gate: Gate
) -> None:
    source = f"def predict(inputs):\n    if inputs[0, 0] == 2: {gate.code}\n    return ['x' * 8_000_000]"
    client = await ready(start(artifact(source)))
    large = client.send([doubles(1)])
    client.send([doubles(2)])
    release = await gate.reached()
    assert len((await client.reply(large)).outputs[0]) == 8_000_002
    assert client.link.outstanding == 1
    release()


@pytest.mark.parametrize(("code", "status"), [("os._exit(7)", 7), ("os.kill(os.getpid(), signal.SIGSEGV)", -11)])
async def test_a_model_that_ends_the_process_is_lost_with_it(
    start: Start, ready: Ready, artifact: Artifact, code: str, status: int
) -> None:
    replica = start(artifact(f"import os, signal\ndef predict(inputs):\n    {code}"))
    client = await ready(replica)
    client.send([doubles(1)])
    await client.seen.until("lost")
    assert await replica.exit_code() == status
    assert client.link.outstanding == 0


async def test_a_model_may_change_directory_and_mask(start: Start, ready: Ready, artifact: Artifact) -> None:
    source = "import os, signal\ndef predict(inputs):\n    os.chdir('/'); os.umask(0o777)\n    return [0]"
    replica = start(artifact(source))
    client = await ready(replica)
    assert await client.ask(doubles(1)) == [b"0"]
    await ready(replica)  # its socket is still there
    replica.kill(signal.SIGTERM)
    assert await replica.exit_code() == 0
    assert not replica.socket_exists()
