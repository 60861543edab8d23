"""A user whose evidence is in the store and not here: waited for a little, never long, and never guessed for ever."""

import asyncio

import pytest
from engine_bench import choosing

from clipper.errors import StoreUnavailable
from clipper.evidence import Evidence
from clipper.feedback import ApplicationKey
from clipper.state.feedback import Changes

SLO_S = 0.1
APP: ApplicationKey = ("app", 0)


class Store:
    """Evidence by context, and what is said to have changed. A held one does not answer; a broken one raises."""

    def __init__(self):
        self.known = {}
        self.changed = Changes(sequence=0)
        self.reads = []
        self.broken = False
        self.answers = asyncio.Event()
        self.answers.set()

    def learn(self, uid, **losses):
        sums = {arm: {"eligible": 50.0, "plays": 50.0, "loss": 50.0 * loss} for arm, loss in losses.items()}
        before = self.known.get((*APP, uid), Evidence())
        self.known[*APP, uid] = Evidence(n=before.n + 50, sums=sums)

    async def token_key(self):
        self._check()
        return b"s" * 32

    async def evidence(self, contexts):
        self.reads.append(sorted(contexts))
        await self.answers.wait()
        self._check()
        return {context: self.known[context].copy() for context in contexts if context in self.known}

    async def changes(self, after_sequence):
        self._check()
        return Changes(0, everything=True) if after_sequence < 0 else self.changed

    def _check(self):
        if self.broken:
            raise StoreUnavailable("The disk is full.")


@pytest.fixture
def store():
    return Store()


def bench_with(store, policy="exp3"):
    bench = choosing(policy, store=store)
    bench.chance = 0.5
    return bench


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_query_waits_for_its_user_and_is_answered_by_what_is_known(store):
    store.learn("u", a=1.0, b=1.0, c=0.0)
    bench = bench_with(store)
    asked = bench.ask(uid="u", explain=True)
    await turns()
    bench.timers.advance(0.05)
    assert asked.answer.models == ("c:1",)
    assert asked.answer.explanation["context"] == "user"
    bench.assert_idle()


async def test_a_user_is_read_once(store):
    bench = bench_with(store)
    for _ in range(3):
        bench.ask(uid="u")
        await turns()
    assert store.reads == [[("app", 0, "u")]]


@pytest.mark.parametrize("policy", ["exp3", "exp4"])
async def test_a_store_that_hangs_costs_a_tenth_of_the_time_and_the_user_not_the_answer(store, policy):
    store.answers.clear()
    bench = bench_with(store, policy)
    asked = bench.ask(uid="u", explain=True)
    await turns()
    bench.timers.advance(SLO_S / 10 - 0.001)
    assert asked.answers == []
    bench.timers.advance(0.01)
    assert asked.answer.output is not None
    assert asked.answer.explanation["context"] == "unknown_user"
    assert bench.metrics().selection.unknown_users == 1
    store.answers.set()
    await turns()
    assert len(asked.answers) == 1


async def test_a_user_who_is_erased_while_being_read_is_not_held(store):
    store.learn("u", a=1.0, b=1.0, c=0.0)
    store.answers.clear()
    bench = bench_with(store)
    bench.ask(uid="u")
    await turns()
    read_before = store.known.pop((*APP, "u"))
    bench.selection.held.replace({}, [APP])
    store.known[*APP, "u"] = read_before
    store.answers.set()
    await turns()
    assert bench.selection.held.users == 0
    bench.timers.advance(0.2)
    bench.assert_idle()


async def test_a_broken_store_costs_nobody_any_time_after_the_first(store):
    store.broken = True
    bench = bench_with(store)
    bench.ask(uid="u")
    await turns()
    asked = bench.ask(uid="v")
    bench.timers.advance(0.005)
    assert asked.answer.output is not None


@pytest.mark.parametrize("policy", ["exp3", "exp4"])
async def test_a_query_that_is_cancelled_while_it_waits_for_its_user_asks_nobody(store, policy):
    store.answers.clear()
    bench = bench_with(store, policy)
    asked = bench.ask(uid="u")
    await turns()
    bench.engine.cancel(asked.ticket)
    store.answers.set()
    await turns()
    bench.timers.advance(1)
    assert asked.answers == []
    assert not any(bench.link(model).batches for model in "abc")
    bench.assert_idle()


@pytest.mark.parametrize("policy", ["exp3", "exp4"])
@pytest.mark.parametrize("new_version", ["inherit", "restart"])
async def test_whose_models_go_while_the_user_is_read_is_told_so(store, policy, new_version):
    store.answers.clear()
    bench = bench_with(store, {"name": policy, "options": {"new_version": new_version}})
    asked = bench.ask(uid="u")
    await turns()
    bench.versions, bench.replicas, bench.current = {}, {}, {}
    bench.apply()
    store.answers.set()
    await turns()
    assert asked.answer.error.code == "no_model_ready"
    bench.assert_idle()


async def test_closing_answers_those_that_wait_for_their_user(store):
    store.answers.clear()
    bench = bench_with(store)
    asked = bench.ask(uid="u")
    await turns()
    bench.engine.close()
    assert asked.answer.error.code == "no_model_ready"
    bench.assert_idle()
    await turns()


async def test_what_the_store_has_decides_after_a_refresh(store):
    store.learn("", a=1.0, b=1.0, c=0.0)
    bench = bench_with(store)
    bench.selection.token_key = None
    await bench.selection.refresh()
    asked = bench.ask()
    bench.timers.advance(0.05)
    assert asked.answer.models == ("c:1",)
    assert bench.claims(asked).arms == ["c"]


async def test_only_what_changed_and_is_held_is_read_again(store):
    bench = bench_with(store)
    await bench.selection.refresh()
    bench.ask(uid="u")
    await turns()
    store.reads.clear()
    store.learn("u", a=1.0, b=1.0, c=0.0)
    store.changed = Changes(5, {(*APP, "u"), (*APP, "stranger"), ("other", 1, "")})
    await bench.selection.refresh()
    assert store.reads == [[(*APP, "u")]]
    asked = bench.ask(b"y", uid="u")
    bench.timers.advance(0.05)
    assert asked.answer.models == ("c:1",)
    store.changed = Changes(5)
    await bench.selection.refresh()
    assert len(store.reads) == 1


async def test_an_application_that_is_new_here_is_read_once_it_is_served(store):
    bench = bench_with(store)
    await bench.selection.refresh()
    store.known["later", 0, ""] = Evidence(n=9, sums={"a": {"plays": 9.0, "loss": 9.0, "eligible": 9.0}})
    bench.application("later", models=("a", "b"), policy="exp3")
    bench.apply()
    store.reads.clear()
    await bench.selection.refresh()
    await bench.selection.refresh()
    assert store.reads == [[("later", 0, "")]]
    assert bench.engine.application("later").contexts.shared().weights["a"] < 0.5


async def test_a_person_who_was_erased_is_forgotten_here_too(store):
    store.learn("u", a=1.0, b=1.0, c=0.0)
    bench = bench_with(store)
    await bench.selection.refresh()
    bench.ask(uid="u")
    await turns()
    assert bench.selection.held.users == 1
    store.known.clear()
    store.changed = Changes(9, everything=True)
    await bench.selection.refresh()
    assert bench.selection.held.users == 0


async def test_a_store_that_fails_leaves_what_is_known(store):
    bench = bench_with(store)
    bench.learn(a=[1.0] * 50, b=[1.0] * 50, c=[0.0] * 50)
    store.broken = True
    with pytest.raises(StoreUnavailable):
        await bench.selection.refresh()
    asked = bench.ask()
    bench.timers.advance(0.05)
    assert asked.answer.models == ("c:1",)
