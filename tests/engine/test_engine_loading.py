import asyncio

import pytest
from abstraction_fakes import VirtualTimers

from clipper.engine.held import HeldEvidence
from clipper.engine.loading import PAUSE_S, UserLoading
from clipper.errors import StoreUnavailable
from clipper.evidence import Evidence

SUMS = {"a": {"plays": 1.0}}


class HeldStore:
    """A store whose reads end when the test says so."""

    def __init__(self, known=()):
        self.known = set(known)
        self.reads = []
        self.fails_with = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def evidence(self, contexts):
        self.reads.append(list(contexts))
        await self.may_answer.wait()
        if self.fails_with is not None:
            raise self.fails_with
        return {context: Evidence(n=1, sums=SUMS) for context in contexts if context in self.known}


class World:
    def __init__(self, **store):
        self.timers = VirtualTimers()
        self.store = HeldStore(**store)
        self.held = HeldEvidence(1 << 20)
        self.loading = UserLoading(self.store, self.held, self.timers)
        self.came = []

    def wait(self, uid, within_s=0.01):
        self.loading.wait(("app", 0, uid), self.timers.now() + within_s, lambda: self.came.append(uid))


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_user_is_read_and_then_its_query_goes_on():
    world = World(known={("app", 0, "u")})
    world.wait("u")
    assert world.came == []
    await turns()
    assert world.came == ["u"]
    assert world.held.user(("app", 0, "u")).n == 1


async def test_that_the_store_knows_nothing_of_a_user_is_remembered():
    world = World()
    world.wait("u")
    await turns()
    assert world.held.user(("app", 0, "u")).packed == b""


async def test_users_that_come_during_a_read_share_the_next_one():
    world = World()
    world.store.may_answer.clear()
    for uid in ("u", "v", "w", "v", "u"):
        world.wait(uid)
        await turns(2)
    assert len(world.store.reads) == 1
    world.store.may_answer.set()
    await turns()
    assert [sorted(read) for read in world.store.reads] == [[("app", 0, "u")], [("app", 0, "v"), ("app", 0, "w")]]
    assert sorted(world.came) == ["u", "u", "v", "v", "w"]


async def test_a_store_that_hangs_holds_nobody_longer_than_agreed():
    world = World()
    world.store.may_answer.clear()
    world.wait("u", within_s=0.01)
    await turns()
    world.timers.advance(0.009)
    assert world.came == []
    world.timers.advance(0.002)
    assert world.came == ["u"]
    world.store.may_answer.set()
    await turns()
    assert world.came == ["u"]


@pytest.mark.parametrize("failure", [StoreUnavailable("The disk is full."), OSError("odd")])
async def test_after_a_failed_read_nobody_waits_for_a_while(failure, caplog):
    world = World()
    world.store.fails_with = failure
    world.wait("u")
    await turns()
    world.wait("v")
    assert world.came == ["u", "v"]
    assert len(world.store.reads) == 1
    assert "everybody's feedback decides" in caplog.text
    world.store.fails_with = None
    world.timers.advance(PAUSE_S)
    world.wait("u")
    await turns()
    assert len(world.store.reads) == 2
    assert world.held.user(("app", 0, "u")) is not None


async def test_closed_it_lets_everybody_go_on():
    world = World()
    world.store.may_answer.clear()
    world.wait("u")
    await turns()
    world.wait("v")
    world.loading.close()
    assert sorted(world.came) == ["u", "v"]
    await turns()
    assert world.timers.pending == 0
