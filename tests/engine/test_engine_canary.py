"""A canary gets its share of the queries and no more, whoever the users are, under every kind of policy."""

import pytest
from engine_bench import EngineBench, served

from clipper.engine.status import view_of

SHARE = 0.25


def on_trial(policy="single", share=SHARE, **application):
    """One model with a current version, and a canary that has a ready replica."""
    bench = EngineBench()
    bench.application(policy=policy, **application)
    bench.version("m", "1")
    bench.version("m", "2", current=False, canary=share)
    bench.models["m"] = bench.models["m"].model_copy(update={"target": "1", "canary": "2"})
    bench.apply()
    bench.link("m", "1").answer = lambda _row: b'"1"'
    bench.link("m", "2").answer = lambda _row: b'"2"'
    return bench


def answers(bench, count=400, uid=None, name=b"", **fields):
    asked = [bench.ask(b"%s%d" % (name, i), uid=uid and uid(i), **fields) for i in range(count)]
    bench.timers.advance(0.5)
    return [query.answer.output for query in asked]


def test_without_a_canary_the_one_version_is_there_to_be_taken():
    route = served().engine.fleet.route("m")
    assert route.only is route.serving is not None
    assert route.canary is None


@pytest.mark.parametrize("policy", ["single", "epsilon_greedy", "majority"])
def test_queries_without_a_user_are_drawn(policy):
    bench = on_trial(policy)
    bench.chance = SHARE - 1e-9
    assert set(answers(bench, 5)) == {b'"2"'}
    bench.chance = SHARE
    assert set(answers(bench, 5, name=b"more")) == {b'"1"'}


@pytest.mark.parametrize("policy", ["single", "epsilon_greedy", "majority"])
def test_a_user_stays_with_one_version_and_the_share_is_kept(policy):
    bench = on_trial(policy)
    first = answers(bench, uid=lambda i: f"user-{i}")
    bench.chance = 0.999
    assert answers(bench, uid=lambda i: f"user-{i}") == first
    assert first.count(b'"2"') == pytest.approx(SHARE * 400, abs=40)


def test_a_query_of_the_canary_says_so():
    bench = on_trial("epsilon_greedy", share=0.9)
    bench.chance = 0.0
    asked = bench.ask(b"x", explain=True)
    bench.timers.advance(0.1)
    assert asked.answer.models == ("m:2",)
    assert bench.claims(asked).models == ["m:2"]
    assert list(asked.answer.explanation["models"]) == ["m:2"]


def test_a_canary_is_asked_too_where_each_version_is_an_arm():
    bench = on_trial({"name": "epsilon_greedy", "options": {"new_version": "restart"}}, share=0.9)
    bench.chance = 0.0
    asked = bench.ask(b"x")
    bench.timers.advance(0.1)
    assert asked.answer.models == ("m:2",)
    assert bench.claims(asked).arms == ["m:1"]


def test_a_forced_version_is_not_drawn():
    bench = on_trial(share=0.9)
    assert set(answers(bench, 5, version="1")) == {b'"1"'}


def test_a_canary_that_lost_its_replicas_gets_nothing_until_they_are_back():
    bench = on_trial(share=0.9)
    bench.chance = 0.0
    bench.link("m", "2").lose()
    assert set(answers(bench, 5)) == {b'"1"'}
    bench.link("m", "2").connect()
    assert set(answers(bench, 5)) == {b'"2"'}


def test_times_are_measured_while_a_canary_runs_and_no_longer():
    bench = on_trial()
    answers(bench, 40)
    counted = [metrics.answer_s.count for metrics in bench.engine.fleet.metrics.values()]
    assert sum(counted) == 40
    bench.models["m"] = bench.models["m"].model_copy(update={"canary": None})
    bench.apply()
    answers(bench, 40, name=b"more")
    assert [metrics.answer_s.count for metrics in bench.engine.fleet.metrics.values()] == counted


def test_the_end_of_a_canary_moves_all_queries_and_loses_none():
    bench = on_trial()
    bench.chance = 0.0
    under_way = [bench.ask(b"%d" % i) for i in range(20)]
    bench.models["m"] = bench.models["m"].model_copy(update={"canary": None, "target": "2"})
    bench.current["m"] = "2"
    bench.apply()
    bench.chance = 0.999
    after = [bench.ask(b"after-%d" % i) for i in range(20)]
    bench.timers.advance(0.5)
    assert {asked.answer.output for asked in under_way + after} == {b'"2"'}
    assert view_of(bench.engine).traffic == {("m", "2")}
    bench.assert_idle()


def test_another_canary_gets_other_users():
    users = [f"user-{i}" for i in range(300)]
    routes = []
    for version in ("2", "3"):
        bench = EngineBench()
        bench.application()
        bench.version("m", "1")
        bench.version("m", version, current=False, canary=SHARE)
        bench.models["m"] = bench.models["m"].model_copy(update={"target": "1", "canary": version})
        bench.apply()
        canary = bench.engine.fleet.route("m").canary
        routes.append({user for user in users if canary.takes(user)})
    assert len(routes[0] & routes[1]) < 0.5 * len(routes[0])
