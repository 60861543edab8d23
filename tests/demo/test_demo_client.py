"""The demo's client loses nothing that was answered, and nothing that was not goes uncounted."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "demo"))

from load import OpenLoop
from report import lost, reasons

QUERIES = 200
RATE_QPS = 20_000.0
OK_REPLY = b'{"query_id":"1","output":7,"default":false}'
DEFAULT_REPLY = b'{"query_id":"1","output":-1,"default":true,"default_explanation":"overloaded: too much"}'


async def _ask(replies: list[bytes | None]) -> OpenLoop:
    """Send `QUERIES` to a server that answers with ``replies`` in turns; None closes the connection instead."""
    served = 0
    handlers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        handlers.append(asyncio.current_task())
        while await reader.readline():
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.rpartition(b"Content-Length:")[2]))
            reply = replies[served % len(replies)]
            served += 1
            if reply is None:
                break
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(reply), reply))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    load = OpenLoop(f"http://{host}:{port}/digits/predict", [b'{"input":[1]}'] * QUERIES, RATE_QPS)
    async with server:
        await load.run()
        await asyncio.gather(*handlers)
    return load


async def test_every_answered_query_is_in_the_replies_once() -> None:
    load = await _ask([OK_REPLY])
    assert sorted(reply.index for reply in load.replies) == list(range(QUERIES))
    assert {reply.output for reply in load.replies} == {7}
    assert lost(load.replies, QUERIES) == 0
    assert reasons(load.replies) == "none"


@pytest.mark.parametrize("every", [2, 10])
async def test_a_connection_that_the_server_closes_counts_its_query_as_lost(every: int) -> None:
    load = await _ask([None] + [OK_REPLY] * (every - 1))
    assert lost(load.replies, QUERIES) == QUERIES // every


async def test_default_outputs_are_counted_by_their_reason() -> None:
    load = await _ask([OK_REPLY, DEFAULT_REPLY])
    assert lost(load.replies, QUERIES) == 0
    assert reasons(load.replies) == f"{QUERIES // 2} default outputs (overloaded)"
