import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
import uvloop
from rest_fakes import FakeEngine, FakeFeedback, FakeRepository
from rest_wire import Wire, until

from clipper_frontends.rest.app import create_query_app
from clipper_frontends.rest.exposition import Exposition, Measured
from clipper_frontends.rest.lane import Lane
from clipper_frontends.rest.limits import Limits
from clipper_frontends.rest.server import HttpServer, listen
from clipper_frontends.rest.submission import HttpCounters


def pytest_asyncio_loop_factories(config, item):
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Served:
    server: HttpServer
    engine: FakeEngine
    lane: Lane
    feedback: FakeFeedback
    repository: FakeRepository
    stack: AsyncExitStack

    async def connect(self) -> Wire:
        wire = await Wire.connect(self.server.address)
        self.stack.push_async_callback(wire.close)
        return wire


ServeFactory = Callable[..., Awaitable[Served]]


@pytest_asyncio.fixture
async def serve(caplog) -> AsyncIterator[ServeFactory]:
    """Starts servers; afterwards nothing of them may be left, and nothing may have failed unnoticed."""
    served: list[Served] = []
    async with AsyncExitStack() as stack:

        async def start(
            *, engine: FakeEngine | None = None, feedback: FakeFeedback | None = None, fast: bool = True, **limits
        ) -> Served:
            engine, feedback, repository = engine or FakeEngine(), feedback or FakeFeedback(), FakeRepository()
            lane = Lane(engine, HttpCounters(), feedback=feedback)
            app = create_query_app(lane, Exposition(lambda: Measured(refused=lane.counters.refused)).scrape, repository)
            server = HttpServer(
                app,
                listen("127.0.0.1", 0),
                limits=Limits(**limits),
                counters=lane.counters,
                lane=lane if fast else None,
            )
            await server.start()
            one = Served(server, engine, lane, feedback, repository, stack)
            served.append(one)
            return one

        yield start
    for one in served:
        one.engine.release_all()
        await one.server.stop(5.0)
        state = one.server._server.server_state
        assert not state.connections
        assert not state.tasks
        assert not one.engine.waiting
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []
    current = asyncio.current_task()
    await until(lambda: all(task.done() or task is current for task in asyncio.all_tasks()))


@pytest.fixture(params=["fast lane", "ordinary road"])
def fast(request) -> bool:
    """Both roads serve predictions here, by turns: the same test, the same answers."""
    return request.param == "fast lane"


@pytest_asyncio.fixture
async def serve_many(serve):
    """One server for each kind, however many examples a property test runs."""
    servers: dict[tuple[str, bool], Served] = {}

    async def get(when: str, fast: bool) -> Served:
        if (when, fast) not in servers:
            servers[when, fast] = await serve(engine=FakeEngine(when), fast=fast)
        return servers[when, fast]

    return get
