"""Promotion and rollback as a frontend sees them: no query falls between two versions."""

import pytest
from engine_bench import EngineBench, served

from clipper.engine.status import view_of


def version_of(asked):
    return next(iter(asked.answer.explanation["models"]))


def test_the_traffic_stays_until_this_frontends_own_link_is_ready():
    bench = served()
    bench.auto_connect = False
    bench.version(version="2")
    bench.apply()
    before = bench.ask(b"a", explain=True)
    bench.timers.advance(0.01)
    assert view_of(bench.engine).traffic == {("m", "1")}
    bench.links["m.2.g1.r0"].connect()
    assert view_of(bench.engine).traffic == {("m", "2")}
    after = bench.ask(b"b", explain=True)
    bench.timers.advance(0.01)
    assert (version_of(before), version_of(after)) == ("m:1", "m:2")


def test_queries_under_way_are_answered_by_the_version_that_has_them():
    bench = served(run_s=lambda _size: 0.02)
    under_way = [bench.ask(b"%d" % i, explain=True) for i in range(4)]
    bench.timers.advance(0.001)
    bench.version(version="2")
    bench.apply()
    bench.timers.advance(0.2)
    assert {version_of(asked) for asked in under_way} == {"m:1"}
    assert all(asked.answer.output for asked in under_way)
    bench.assert_idle()


def test_a_replica_that_dies_does_not_send_the_traffic_back_to_an_older_version():
    bench = served()
    bench.version(version="2")
    bench.apply()
    bench.links["m.2.g1.r0"].lose()
    asked = bench.ask(b"x", timeout_ms=5)
    bench.timers.advance(0.1)
    assert asked.answer.error is not None
    assert bench.links["m.1.g1.r0"].batches == []


def test_a_version_created_anew_is_another_one():
    bench = served()
    bench.ask(b"x")
    bench.timers.advance(0.01)
    bench.replicas.clear()
    bench.version(generation=5)
    bench.apply()
    again = bench.ask(b"x", explain=True)
    bench.timers.advance(0.01)
    assert again.answer.explanation["models"]["m:1"]["cache"] == "miss"
    assert again.answer.explanation["models"]["m:1"]["replica"] == "m.1.g5.r0"


def test_a_stopped_version_answers_what_it_has_and_is_gone():
    bench = served()
    bench.version(version="2")
    bench.apply()
    bench.version(version="1", replicas=0, wanted=False, current=False)
    bench.replicas = {rid: r for rid, r in bench.replicas.items() if r.version == "2"}
    bench.current["m"] = "2"
    bench.apply()
    assert ("m", "1") not in bench.engine.fleet.versions
    assert bench.links["m.1.g1.r0"].closed


def test_a_change_of_batching_keeps_what_is_under_way():
    bench = served(run_s=lambda _size: 0.02)
    asked = [bench.ask(b"%d" % i) for i in range(4)]
    bench.timers.advance(0.001)
    bench.version(batching="fixed:4")
    bench.apply()
    asked += [bench.ask(b"later%d" % i) for i in range(2)]
    bench.timers.advance(0.5)
    assert all(one.answer.output for one in asked)
    policy = bench.engine.describe()["m:1"]["replicas"][0]["batching"]["policy"]
    assert policy == "fixed"
    bench.assert_idle()


def test_ready_asks_for_a_ready_replica_of_every_current_version_with_traffic():
    bench = EngineBench()
    assert bench.engine.ready() == (False, "The server has not read its configuration yet.")
    bench.apply()
    assert bench.engine.ready()[0]
    bench.auto_connect = False
    bench.application()
    bench.version()
    bench.apply()
    ready, why = bench.engine.ready()
    assert not ready
    assert "Model 'm' of application 'app'" in why
    bench.links["m.1.g1.r0"].connect()
    assert bench.engine.ready()[0]
    bench.engine.draining = True
    assert bench.engine.ready() == (False, "The server is shutting down.")


def test_a_model_that_no_application_links_does_not_make_the_server_unready():
    bench = EngineBench()
    bench.auto_connect = False
    bench.version()
    bench.apply()
    assert bench.engine.ready()[0]


def test_a_version_batches_for_the_tightest_slo_that_links_it():
    bench = served(slo_ms=100)
    bench.application("fast", slo_ms=5)
    bench.apply()
    assert bench.engine.fleet.version("m", "1").slo_s == 0.005
    del bench.applications["fast"]
    bench.apply()
    assert bench.engine.fleet.version("m", "1").slo_s == 0.1


def test_one_application_that_cannot_be_served_does_not_take_the_others_down(caplog):
    bench = served()
    bench.application("odd", policy="from-a-newer-server")
    bench.apply()
    asked = bench.ask()
    bench.timers.advance(0.01)
    assert asked.answer.output
    assert "odd" in caplog.text
    assert bench.ask(application="odd").answer.error.code == "unknown_application"


@pytest.mark.parametrize("batching", ["none", "fixed:2", "deadline"])
@pytest.mark.parametrize("deleted", [False, True])
def test_a_version_that_goes_answers_what_waits_for_it(batching, deleted):
    bench = EngineBench(run_s=lambda _size: 0.02)
    bench.application(slo_ms=2000)
    bench.version(batching=batching)
    bench.apply()
    asked = [bench.ask(b"%d" % i, explain=True) for i in range(8)]
    bench.timers.advance(0.001)
    bench.version(version="2")
    if deleted:
        del bench.versions["m"]["1"]
    bench.apply()
    bench.replicas["m.1.g1.r0"] = bench.replicas["m.1.g1.r0"].model_copy(update={"state": "draining"})
    bench.apply()
    asked += [bench.ask(b"later", explain=True)]
    bench.timers.advance(1.0)
    assert [version_of(one) for one in asked] == ["m:1"] * 8 + ["m:2"]
    assert all(one.answer.output for one in asked)
    del bench.replicas["m.1.g1.r0"]
    bench.apply()
    assert bench.links["m.1.g1.r0"].closed
    bench.assert_idle()


def test_what_waits_for_a_version_that_goes_is_told_when_its_last_replica_does():
    bench = EngineBench(run_s=None)
    bench.application(slo_ms=2000)
    bench.version(batching="none")
    bench.apply()
    asked = [bench.ask(b"%d" % i) for i in range(8)]
    bench.timers.advance(0.001)
    bench.replicas.clear()
    bench.current.clear()
    bench.apply()
    assert not any(one.answers for one in asked)
    bench.links["m.1.g1.r0"].lose()
    bench.timers.turn()
    assert all(one.answer.error for one in asked)
    bench.assert_idle()
