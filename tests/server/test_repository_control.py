"""How a change of the repository is waited for, and why one is given up: on a real store, without any replicas."""

import asyncio
from types import SimpleNamespace

import pytest
import pytest_asyncio

from clipper.control import desired
from clipper.domain import Snapshot, VersionSpec, VersionStatus
from clipper.engine.status import FrontendView
from clipper.errors import Conflict, NoModelReady, ShuttingDown
from clipper.server import repository
from clipper.settings import Settings
from clipper.state.sqlite import SqliteStore
from clipper_frontends.oip.repository import Change

KEY = ("svm", "1")
LOAD, UNLOAD = Change("load", "svm"), Change("unload", "svm")


def view(*keys):
    return FrontendView(ready=True, reason="", serving=frozenset(keys), traffic=frozenset(keys))


def deploy(wanted, revision):
    spec = VersionSpec(version="1", input_type="doubles", flavor="noop")
    return desired.create_version(wanted, "svm", spec, generation=revision, digest=None, manifest={}, now=1.0)


class Server:
    """What a control sees: two frontends, where a test says that they are, and the store as it is."""

    def __init__(self, store):
        self.store = store
        self.views = [view(), view()]
        self.waited_for = asyncio.Event()
        self.served = None
        """The revision that the last frontend serves; None: whatever the store has."""
        self.engine = SimpleNamespace(draining=False, snapshot=Snapshot())
        settings = Settings(oip_repository="open")
        self.control = repository.RepositoryControl(settings, store, self.engine, self._everywhere)

    def _everywhere(self):
        self.waited_for.set()
        return self.engine.snapshot.revision if self.served is None else self.served, self.views

    async def change(self, edit):
        self.engine.snapshot = await self.store.change(edit)

    async def follow(self):
        """The engine reads what the control has changed, as soon as it has."""
        while await self.store.revision() == self.engine.snapshot.revision:  # noqa: ASYNC110  # asked of a database
            await asyncio.sleep(0)
        self.engine.snapshot = await self.store.snapshot()


@pytest_asyncio.fixture
async def server(tmp_path, monkeypatch):
    monkeypatch.setattr(repository, "LOOK_S", 0.001)
    store = await SqliteStore.open(tmp_path)
    server = Server(store)
    await server.change(deploy)
    yield server
    await store.close()


async def test_a_load_is_done_when_every_frontend_sends_its_queries_there(server):
    loading = asyncio.create_task(server.control.carry_out(LOAD))
    for views in ([view(), view()], [view(KEY), view()], [view(), view(KEY)]):
        server.views = views
        assert not (await asyncio.wait([loading], timeout=0.02))[0]
    server.views = [view(KEY), view(KEY)]
    await asyncio.wait_for(loading, 20)


async def test_an_unload_is_done_when_no_frontend_has_it_any_more(server):
    server.views = [view(KEY), view(KEY)]
    unloading = asyncio.create_task(server.control.carry_out(UNLOAD))
    await server.follow()
    server.views = [view(), view(KEY)]
    assert not (await asyncio.wait([unloading], timeout=0.02))[0]
    server.views = [view(), view()]
    await asyncio.wait_for(unloading, 20)
    assert not (await server.store.snapshot()).desired.version(*KEY).wanted


async def test_what_frontends_did_before_they_read_the_change_does_not_count(server):
    server.served = 0
    unloading = asyncio.create_task(server.control.carry_out(UNLOAD))
    await server.follow()
    assert not (await asyncio.wait([unloading], timeout=0.05))[0]
    server.served = None
    await asyncio.wait_for(unloading, 20)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda wanted, _revision: desired.stop_model(wanted, "svm"), "was stopped by somebody else"),
        (lambda wanted, _revision: desired.delete_model(wanted, "svm"), "was stopped by somebody else"),
        (lambda wanted, _r: desired.promote(second(wanted), "svm", "2"), "was replaced by somebody else"),
    ],
)
async def test_a_load_that_somebody_else_undoes_is_a_conflict(server, edit, words):
    loading = asyncio.create_task(server.control.carry_out(LOAD))
    await asyncio.wait_for(server.waited_for.wait(), 20)
    await server.change(edit)
    with pytest.raises(Conflict, match=words):
        await asyncio.wait_for(loading, 20)


def second(wanted):
    spec = VersionSpec(version="2", input_type="doubles", flavor="noop", promote=False)
    return desired.create_version(wanted, "svm", spec, generation=99, digest=None, manifest={}, now=2.0)


async def test_a_version_that_fails_says_why(server):
    generation = server.engine.snapshot.desired.version(*KEY).generation
    status = VersionStatus(model="svm", version="1", generation=generation, state="failed", reason="no such file")
    await server.store.report(lambda seen: seen.model_copy(update={"statuses": {"svm": {"1": status}}}))
    await server.follow()
    with pytest.raises(NoModelReady, match=r"'1' of the model 'svm' could not be loaded: no such file"):
        await asyncio.wait_for(server.control.carry_out(LOAD), 20)


async def test_what_takes_too_long_is_said_to_go_on(server, monkeypatch):
    monkeypatch.setattr(repository, "WAIT_S", 0.05)
    with pytest.raises(NoModelReady, match="goes on loading"):
        await server.control.carry_out(LOAD)
    server.views = [view(KEY)]
    with pytest.raises(NoModelReady, match="goes on unloading"):
        await server.control.carry_out(UNLOAD)


async def test_a_server_that_shuts_down_does_not_wait_for_its_models(server):
    loading = asyncio.create_task(server.control.carry_out(LOAD))
    await asyncio.wait_for(server.waited_for.wait(), 20)
    server.engine.draining = True
    with pytest.raises(ShuttingDown):
        await asyncio.wait_for(loading, 20)
