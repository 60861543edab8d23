"""The load generators of the selection's benchmarks: what they send, and what they make of the replies."""

import asyncio
import json
import shutil
import subprocess
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Self

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
QUERIES = 200


class Connection(asyncio.Protocol):
    """Answers every request and notes its path and body."""

    def __init__(self, seen: list[tuple[str, dict]], status: int, still_open: set) -> None:
        self.seen = seen
        self.status = status
        self.still_open = still_open
        self.received = b""
        self.closed = asyncio.Event()

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.still_open.add(self)

    def connection_lost(self, exc) -> None:
        self.still_open.discard(self)
        self.closed.set()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if not separator or len(body) < length:
            return
        self.received = b""
        self.seen.append((head.split(b" ", 2)[1].decode(), json.loads(body)))
        reply = json.dumps({"query_id": str(len(self.seen)), "output": 3}).encode()
        self.transport.write(b"HTTP/1.1 %d OK\r\ncontent-length: %d\r\n\r\n%s" % (self.status, len(reply), reply))


class Served:
    """A server that notes what it is sent; it is gone, with its connections, at the end of the block."""

    def __init__(self, status: int = 200) -> None:
        self.seen: list[tuple[str, dict]] = []
        self.status = status
        self.still_open: set[Connection] = set()

    async def __aenter__(self) -> Self:
        make = partial(Connection, self.seen, self.status, self.still_open)
        self.server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        host, port = self.server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.server.close()
        for connection in list(self.still_open):
            connection.transport.close()
            await connection.closed.wait()
        await self.server.wait_closed()


async def drive(served: Served, share: float):
    from http_load import MixedLoad  # noqa: PLC0415  # found by the fixture below

    load = MixedLoad(served.url, "digits", rate_qps=5000.0, feedback_share=share, seed=1)
    return await load.run([b'{"input": [1.0]}'] * QUERIES)


@pytest.fixture(autouse=True)
def _found(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


async def test_feedback_follows_a_share_of_the_answers_and_names_them() -> None:
    async with Served() as served:
        mixed = await drive(served, 0.25)
    updates = [body for path, body in served.seen if path == "/digits/update"]
    assert len(mixed.predictions_s) == QUERIES
    assert len(mixed.updates_s) == len(updates)
    assert 20 < len(updates) < 80
    assert all(update["label"] == 3 and update["query_id"] for update in updates)
    assert len({update["query_id"] for update in updates}) == len(updates)
    assert mixed.failed == 0


async def test_what_is_refused_is_counted_and_gets_no_feedback() -> None:
    async with Served(status=503) as served:
        mixed = await drive(served, 1.0)
    assert (len(mixed.predictions_s), mixed.updates_s, mixed.failed) == (QUERIES, [], QUERIES)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
async def test_lines_of_a_file_are_sent_in_their_order(tmp_path) -> None:
    lines = tmp_path / "bodies"
    lines.write_text("".join(f'{{"number":{number}}}\n' for number in range(5)))
    async with Served() as served:
        script = str(BENCHMARKS / "lines.lua")
        command = ["wrk", "-t1", "-c1", "-d1s", "-s", script, f"{served.url}/x", "--", str(lines)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert "RESULT {" in done.stdout
    numbers = [body["number"] for _, body in served.seen]
    assert len(numbers) > 10
    assert {(after - before) % 5 for before, after in pairwise(numbers)} == {1}


def test_a_selection_loop_learns_who_is_right() -> None:
    from selection_loop import SelectionLoop  # noqa: PLC0415  # found by the fixture above

    from clipper.selection import Loss, policy_named  # noqa: PLC0415  # as above

    loop = SelectionLoop(policy_named("exp3", {}), ("right", "wrong"), Loss(), seed=1)
    answers = []
    for _ in range(300):
        outputs = {"right": 1, "wrong": 0}
        answer, propensities = loop.answer(outputs, "ann")
        loop.learn(outputs, propensities, 1, "ann")
        answers.append(answer)
    assert sum(answers[100:]) > 180
    assert loop.users["ann"].n == loop.shared.n == 300
