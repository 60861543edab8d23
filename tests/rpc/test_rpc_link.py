"""A link and a real replica: what is sent comes back, and what goes wrong is told."""

import asyncio
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from rpc_harness import Client, Gate, ReplicaProcess, doubles, free_port

from clipper.rpc.link import ItemError
from clipper_container import wire
from clipper_container.version import __version__
from clipper_container.wire import Kind

Start = Callable[..., ReplicaProcess]
Ready = Callable[..., Any]
Connect = Callable[..., Client]
Artifact = Callable[..., Path]

BY_ROW = """
def predict(inputs):
    return [float(row.sum()) for row in inputs]
"""


@pytest.mark.parametrize("address", [None, "tcp"])
async def test_a_batch_is_answered_over_unix_sockets_and_tcp(
    start: Start, ready: Ready, artifact: Artifact, address: str | None
) -> None:
    client = await ready(start(artifact(BY_ROW), address=address))
    reply = await client.reply(client.send([doubles(1, 2), doubles(3, 4.5)]))
    assert reply.outputs == [b"3.0", b"7.5"]
    assert reply.wait_s >= 0
    assert reply.run_s > 0


async def test_hello_says_what_is_served(start: Start, ready: Ready) -> None:
    replica = start(None, "--model", "svm", "--version", "3", "--generation", "7", "--input-type", "strings")
    hello = (await ready(replica)).link.hello
    assert (hello.model, hello.version, hello.generation, hello.replica_id) == ("svm", "3", 7, "r1")
    assert (hello.flavor, hello.input_type, hello.input_width, hello.warmup) == ("noop", "strings", None, [])
    assert (hello.pid, hello.runtime_version) == (replica.process.pid, __version__)


async def test_many_batches_of_many_frontends_each_get_their_own_answers(
    start: Start, ready: Ready, artifact: Artifact
) -> None:
    replica = start(artifact(BY_ROW))
    clients = [await ready(replica) for _ in range(4)]
    sent = [(client, i, client.send([doubles(i, k) for k in range(10)])) for i in range(16) for client in clients]
    for client, i, batch_id in sent:
        assert (await client.reply(batch_id)).outputs == [repr(float(i + k)).encode() for k in range(10)]
    assert all(client.link.outstanding == 0 for client in clients)


@pytest.mark.parametrize("address", [None, "tcp"])
async def test_a_batch_and_a_reply_of_megabytes_come_through(
    start: Start, ready: Ready, artifact: Artifact, address: str | None
) -> None:
    source = "def predict(inputs):\n    return [text[::-1] for text in inputs]"
    client = await ready(start(artifact(source, input_type="strings"), address=address))
    text = "".join(map(chr, range(97, 122))) * 200_000
    assert await client.ask(text.encode(), b"ab") == [f'"{text[::-1]}"'.encode(), b'"ba"']


async def test_an_expired_row_never_runs(start: Start, ready: Ready, artifact: Artifact, tmp_path: Path) -> None:
    source = f"""
def predict(inputs):
    with open({str(tmp_path / "ran")!r}, "a") as file:
        print(*inputs[:, 0].tolist(), file=file)
    return [0] * len(inputs)
"""
    client = await ready(start(artifact(source)))
    now = time.monotonic()
    outputs = await client.ask(doubles(1), doubles(2), doubles(3), deadlines=[now + 30, now - 1, now + 30])
    assert (outputs[0], outputs[2]) == (b"0", b"0")
    assert outputs[1].code == "deadline_exceeded"
    assert (tmp_path / "ran").read_text() == "1.0 3.0\n"


async def test_over_tcp_deadlines_are_moved_to_the_replicas_clock(start: Start, connect: Connect) -> None:
    """A frontend whose clock is a million seconds ahead, as another host's may be."""
    client = connect(start(address="tcp"))
    ahead = 1e6
    client.link._clock = lambda: time.monotonic() + ahead
    await client.seen.until("ready")
    now = time.monotonic() + ahead
    outputs = await client.ask(doubles(1), doubles(2), deadlines=[now + 5, now - 5])
    assert outputs[0] == b"0"
    assert isinstance(outputs[1], ItemError)


async def test_a_killed_replica_is_lost_and_its_successor_is_found(start: Start, ready: Ready) -> None:
    first = start()
    client = await ready(first)
    first.kill()
    await client.seen.until("lost")
    assert not client.link.ready
    with pytest.raises(RuntimeError, match="not ready"):
        client.send([doubles(1)])
    start(address=first.address)
    await client.seen.until("ready", 2)
    assert await client.ask(doubles(1)) == [b"0"]


async def test_outstanding_batches_of_a_lost_replica_are_forgotten(
    start: Start, ready: Ready, artifact: Artifact, gate: Gate
) -> None:
    replica = start(artifact(f"def predict(inputs):\n    {gate.code}"))
    client = await ready(replica)
    client.send([doubles(1)])
    release = await gate.reached()
    assert client.link.outstanding == 1
    replica.kill()
    await client.seen.until("lost")
    release()
    assert client.link.outstanding == 0
    assert client.seen.of("reply") == []


async def test_a_link_dials_until_the_replica_listens(start: Start, connect: Connect, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/late"
    client = connect(address)
    await problem(client)
    assert f"cannot connect to {address}" in client.link.problem
    assert client.seen.events == []
    start(address=address)
    await client.seen.until("ready")
    assert client.link.problem is None


async def test_another_replica_at_the_address_is_not_taken_for_the_right_one(start: Start, connect: Connect) -> None:
    client = connect(start(), replica_id="r2")
    _, reason = await client.seen.until("lost")
    assert reason == "replica 'r1' answers at this address, 'r2' was dialled"


@pytest.mark.parametrize("address", [None, "tcp"])
async def test_both_ends_have_to_know_the_secret(
    start: Start, connect: Connect, tmp_path: Path, address: str | None
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"correct horse battery staple\n")
    replica = start(None, "--secret-file", str(file), address=address)
    good = connect(replica, secret=b"correct horse battery staple")
    await good.seen.until("ready")
    assert await good.ask(doubles(1)) == [b"0"]
    wrong, without = connect(replica, secret=b"another secret altogether"), connect(replica)
    assert "does not know the shared secret" in (await wrong.seen.until("lost"))[1]
    assert "does not know the shared secret" in (await without.seen.until("lost"))[1]
    assert wrong.seen.of("ready") == without.seen.of("ready") == []


async def test_a_replica_that_does_not_know_the_secret_is_not_trusted(start: Start, connect: Connect) -> None:
    client = connect(start(), secret=b"correct horse battery staple")
    _, reason = await client.seen.until("lost")
    assert reason == "the replica does not know the shared secret; give both ends the same one"


async def test_a_batch_too_large_for_a_frame_is_answered_by_item_errors(
    start: Start, ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await ready(start())
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 1000)
    outputs = await client.ask(doubles(*range(200)))
    assert outputs == [ItemError("model_error", "The batch has 1624 bytes; a frame has at most 1000.")]
    assert await client.ask(doubles(1)) == [b"0"]


async def test_no_event_comes_after_close_even_from_inside_an_event(start: Start, ready: Ready) -> None:
    client = await ready(start())
    on_reply = client.seen.on_reply

    def close_at_first(*event: Any) -> None:
        on_reply(*event)
        client.link.close()

    client.seen.on_reply = close_at_first
    for _ in range(8):
        client.send([doubles(1)])
    await client.seen.until("reply")
    other = await ready(start())
    await other.ask(doubles(1))
    assert len(client.seen.of("reply")) == 1
    assert client.seen.of("lost") == []


async def test_a_link_closed_while_it_dials_leaves_nothing(connect: Connect, start: Start) -> None:
    replica = start()
    for turns in range(12):
        client = connect(replica)
        for _ in range(turns):
            await asyncio.sleep(0)
        client.link.close()
        assert client.seen.events == []


async def problem(client: Client) -> None:
    """Waits until a dial has failed, which raises no event."""
    while client.link.problem is None:  # noqa: ASYNC110  # turns of the loop, not time
        await asyncio.sleep(0)


class FakeReplica:
    """Greets as a replica does and then sends what a test wants."""

    def __init__(self, path: Path, *frames: bytes) -> None:
        self._path, self._frames = path, frames
        self.address = f"unix:{path}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._greet, self._path)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.control(Kind.CHALLENGE, wire.Challenge("r1", "0" * 32)))
        for frame in self._frames:
            writer.write(frame)
        await reader.read(1 << 20)
        await reader.read(1 << 20)
        await reader.read(1 << 20)
        writer.close()
        await writer.wait_closed()


HELLO = wire.Hello("m", "1", 0, "r1", "noop", "doubles", None, [], os.getpid(), "0")


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "does not speak the protocol"),
        ([struct.pack("<4sBBHIQ", b"CLPR", 1, 19, 0, 1 << 31, 0)], "has at most 268435456 bytes"),
        ([struct.pack("<4sBBHIQ", b"CLPR", 2, 19, 0, 0, 0)], "protocol version 1 was expected, 2 came"),
        ([wire.encode_reply(5, 1, b"0\n", [], 0.0, 0.0)], "batch 5 was answered, but is not outstanding"),
        ([wire.frame(Kind.REPLY, b"short", 5)], "a reply starts with"),
        ([wire.frame(Kind.READY, b"{}")], "a Hello message was expected"),
        ([wire.frame(Kind.PONG, bytes(16))], "a ping came that nobody sent"),
        ([wire.frame(Kind.BATCH)], "is not one that a replica sends"),
        ([wire.error_frame("enough")], "the replica ended the connection: enough"),
    ],
)
async def test_a_replica_that_breaks_the_protocol_is_left_with_a_sentence(
    connect: Connect, tmp_path: Path, frames: list[bytes], reason: str
) -> None:
    async with FakeReplica(tmp_path / "fake", *frames) as fake:
        client = connect(fake.address)
        assert reason in (await client.seen.until("lost"))[1]
        await client.seen.until("lost", 2)  # it dials again
        client.link.close()


async def test_a_reply_with_another_number_of_rows_ends_the_connection(connect: Connect, tmp_path: Path) -> None:
    ready_and_reply = wire.control(Kind.READY, HELLO)
    async with FakeReplica(
        tmp_path / "fake", ready_and_reply, wire.encode_reply(1, 2, b"0\n0\n", [], 0.0, 0.0)
    ) as fake:
        client = connect(fake.address)
        client.seen.on_ready = lambda link: client.send([doubles(1)])
        _, reason = await client.seen.until("lost")
        assert "another number of rows" in reason
        client.link.close()


async def test_a_wrong_address_is_refused_at_once(connect: Connect) -> None:
    with pytest.raises(ValueError, match="'unix:/absolute/path' or 'tcp:host:port'"):
        connect("http://localhost:1")


async def test_a_host_that_cannot_be_a_name_is_told(connect: Connect) -> None:
    client = connect("tcp:a..b:80")
    await problem(client)
    assert "cannot connect to tcp:a..b:80" in client.link.problem


async def test_a_closed_port_is_told(connect: Connect) -> None:
    client = connect(f"tcp:127.0.0.1:{free_port()}")
    await problem(client)
    assert "cannot connect" in client.link.problem
