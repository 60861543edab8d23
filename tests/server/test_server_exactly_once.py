"""Callers that leave, and deadlines that reach the model: real sockets, a real container."""

import asyncio
import json
import random
import sys
import time
from urllib.parse import urlsplit

import cloudpickle

import clipper

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def takes_a_moment(batch):
    import time  # noqa: PLC0415  # travels with the function

    time.sleep(0.002)
    return batch[:, 0]


class Caller:
    """One HTTP connection that asks one query; it may leave at any moment."""

    def __init__(self, url: str, app: str):
        self.address = urlsplit(url)
        self.app = app

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(self.address.hostname, self.address.port)
        return self

    async def __aexit__(self, *_):
        self.writer.transport.abort()

    def send(self, body: dict) -> None:
        data = json.dumps(body).encode()
        self.writer.write(
            b"POST /%s/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
            % (self.app.encode(), len(data), data)
        )

    async def answer(self) -> tuple[int, dict]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        return int(head.split()[1]), json.loads(await self.reader.readexactly(int(headers[b"content-length"])))


def test_callers_that_leave_at_any_moment_harm_nobody(cl: clipper.Connection):
    """2,000 requests of which half leave between 0 and 6 ms after asking; rows repeat, so that flights are shared."""
    cl.deploy_model("moment", 1, takes_a_moment, input_type="doubles", batching="deadline")
    cl.register_application("moment", input_type="doubles", slo_ms=5000, models=["moment"])
    draw = random.Random(11)

    async def one(i: int) -> None:
        x = float(i // 2 if i % 5 else i)
        async with Caller(cl.session.query_url, "moment") as caller:
            caller.send({"input": [x]})
            if i % 2:
                await asyncio.sleep(draw.uniform(0, 0.006))
                return
            assert (await caller.answer())[1].get("output") == x

    async def everybody() -> None:
        gate = asyncio.Semaphore(100)

        async def through_the_gate(i: int) -> None:
            async with gate:
                await one(i)

        await asyncio.gather(*(through_the_gate(i) for i in range(2000)))

    asyncio.run(everybody())


def notes_what_it_executes(batch):
    import time  # noqa: PLC0415  # travels with the function

    started = time.monotonic()
    time.sleep(0.02)
    return [[float(x[0]), started] for x in batch]


def test_an_expired_query_is_never_executed(cl: clipper.Connection):
    """More than the model can do, with deadlines of 5 to 60 ms: what it starts, it starts before the deadline."""
    cl.deploy_model("notes", 1, notes_what_it_executes, input_type="doubles", batching="fixed:4")
    cl.register_application("notes", input_type="doubles", slo_ms=60, models=["notes"])
    draw = random.Random(5)

    async def one(i: int) -> tuple[float, float, int, dict]:
        async with Caller(cl.session.query_url, "notes") as caller:
            timeout_ms = draw.uniform(5, 60)
            caller.send({"input": [float(i)], "timeout_ms": timeout_ms, "explain": True})
            status, body = await caller.answer()
            return timeout_ms, time.monotonic(), status, body

    async def waves() -> list[tuple[float, float, int, dict]]:
        results = []
        for wave in range(10):
            results += await asyncio.gather(*(one(100 * wave + i) for i in range(30)))
        return results

    results = asyncio.run(waves())
    answered = [(t, at_s, body) for t, at_s, status, body in results if status == 200]
    assert {status for _, _, status, _ in results} <= {200, 429, 504}
    assert 0 < len(answered) < len(results)
    for timeout_ms, received_s, body in answered:
        _, started_s = body["output"]
        arrived_before_s = received_s - body["explanation"]["latency_ms"] / 1e3
        assert started_s < arrived_before_s + timeout_ms / 1e3
