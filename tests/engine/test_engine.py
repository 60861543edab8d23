import asyncio

import pytest
from abstraction_fakes import item_error
from engine_bench import EngineBench, served

from clipper.domain import Query
from clipper.errors import UnknownApplication


def test_a_query_is_answered_with_the_models_output():
    bench = served()
    asked = bench.ask(b"x")
    bench.timers.advance(0.01)
    assert (asked.answer.output, asked.answer.default, asked.answer.error) == (b"out:x", False, None)
    bench.assert_idle()


def test_query_ids_differ():
    bench = served()
    asked = [bench.ask(b"%d" % (i % 10)) for i in range(100)]
    bench.timers.advance(0.1)
    assert len({one.answer.query_id for one in asked}) == 100


def test_an_error_without_a_default_is_an_error():
    bench = served()
    bench.links["m.1.g1.r0"].answer = lambda _row: item_error("ValueError: no")
    asked = bench.ask()
    bench.timers.advance(0.01)
    assert asked.answer.output is None
    assert asked.answer.error.code == "model_error"
    assert "ValueError: no" in asked.answer.error.message


@pytest.mark.parametrize(("default", "fragment"), [(-1, b"-1"), (None, b"null"), ({"a": [1]}, b'{"a":[1]}')])
def test_a_default_answers_with_the_reason_beside_it(default, fragment):
    bench = served(default_output=default)
    bench.links["m.1.g1.r0"].answer = lambda _row: item_error("ValueError: no")
    asked = bench.ask()
    bench.timers.advance(0.01)
    assert asked.answer.default
    assert asked.answer.output == fragment
    assert asked.answer.default_explanation.startswith("model_error: ")


def test_a_query_that_is_not_answered_in_time_is_answered_at_its_deadline():
    bench = served(run_s=lambda _size: 10.0, slo_ms=50)
    asked = bench.ask()
    bench.timers.advance(0.049)
    assert asked.answers == []
    bench.timers.advance(0.002)
    assert asked.answer.error.code == "deadline_exceeded"
    bench.timers.advance(20)
    assert len(asked.answers) == 1
    bench.assert_idle()


def test_timeout_ms_shortens_the_slo():
    bench = served(run_s=lambda _size: 10.0, slo_ms=50)
    asked = bench.ask(timeout_ms=5)
    bench.timers.advance(0.006)
    assert asked.answer.error.code == "deadline_exceeded"


def test_timeout_ms_never_lengthens_the_slo():
    bench = served(run_s=lambda _size: 10.0, slo_ms=50)
    asked = bench.ask(timeout_ms=5000)
    bench.timers.advance(0.051)
    assert asked.answer.error.code == "deadline_exceeded"


def test_an_application_without_a_model_says_so():
    bench = EngineBench()
    bench.application(models=(), default_output=7)
    bench.apply()
    asked = bench.ask()
    assert asked.answer.default_explanation.startswith("no_model_ready: Application 'app' has no linked model")


def test_a_model_without_a_ready_version_says_so():
    bench = EngineBench()
    bench.application()
    bench.version(current=False, replicas=0)
    bench.apply()
    assert bench.ask().answer.error.code == "no_model_ready"
    assert bench.ask().answer.error.retry_after_s > 0


def test_a_version_can_be_forced():
    bench = served()
    bench.version(version="2", current=False)
    bench.apply()
    asked = bench.ask(version="2", explain=True)
    bench.timers.advance(0.01)
    assert list(asked.answer.explanation["models"]) == ["m:2"]


def test_a_forced_version_that_is_unknown_is_no_case_for_the_default():
    bench = served(default_output=-1)
    asked = bench.ask(version="9")
    assert asked.answer.error.code == "unknown_version"
    assert not asked.answer.default


def test_an_unknown_application_is_refused():
    bench = served()
    assert bench.ask(application="nobody").answer.error.code == "unknown_application"
    with pytest.raises(UnknownApplication, match="nobody"):
        bench.engine.application("nobody")
    bench.assert_idle()


def test_explain_tells_what_happened():
    bench = served()
    asked = bench.ask(b"x", explain=True)
    bench.timers.advance(0.01)
    story = asked.answer.explanation
    assert story["policy"] == "single"
    assert story["slo_ms"] == 100
    model = story["models"]["m:1"]
    assert (model["cache"], model["batch_size"], model["replica"]) == ("miss", 1, "m.1.g1.r0")
    assert (model["weight"], model["propensity"]) == (1.0, 1.0)
    again = bench.ask(b"x", explain=True)
    assert again.answer.explanation["models"]["m:1"]["cache"] == "hit"


def test_a_caller_that_fails_to_take_its_answer_harms_no_neighbour(caplog):
    bench = served()
    bench.ask(b"a")
    bench.engine.submit(Query("app", b"b", bench.timers.now()), lambda _answer: 1 / 0)
    after = bench.ask(b"c")
    bench.timers.advance(0.01)
    assert after.answer.output == b"out:c"
    assert "failed to deliver" in caplog.text
    bench.assert_idle()


def test_a_cancelled_query_is_not_answered_and_not_executed():
    bench = served()
    asked = bench.ask(b"gone")
    bench.engine.cancel(asked.ticket)
    bench.engine.cancel(asked.ticket)
    bench.timers.advance(1)
    assert asked.answers == []
    assert bench.links["m.1.g1.r0"].batches == []
    assert bench.engine.applications["app"].metrics.outcomes["cancelled", ""] == 1
    bench.assert_idle()


async def test_cancelling_the_awaiting_task_cancels_the_query():
    bench = served(run_s=lambda _size: 10.0)
    task = asyncio.ensure_future(bench.engine.predict(Query("app", b"x", bench.timers.now())))
    await asyncio.sleep(0)
    assert bench.engine.leaks()["queries"] == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.engine.leaks()["queries"] == 0


async def test_an_awaited_query_is_answered():
    bench = served()
    task = asyncio.ensure_future(bench.engine.predict(Query("app", b"x", bench.timers.now())))
    await asyncio.sleep(0)
    bench.timers.advance(0.01)
    assert (await task).output == b"out:x"


def test_outcomes_are_counted_by_cause():
    bench = served(default_output=0)
    bench.ask(b"a")
    bench.timers.advance(0.01)
    bench.links["m.1.g1.r0"].answer = lambda _row: item_error()
    bench.ask(b"b")
    bench.timers.advance(0.01)
    outcomes = bench.engine.applications["app"].metrics.outcomes
    assert outcomes == {("answered", ""): 1, ("default", "model_error"): 1}
    assert bench.engine.applications["app"].metrics.latency_s.count == 2


def test_counters_survive_a_change_of_the_application():
    bench = served()
    bench.ask()
    bench.timers.advance(0.01)
    bench.application(slo_ms=10)
    bench.apply()
    app = bench.engine.application("app")
    assert (app.slo_s, app.metrics.latency_s.count) == (0.01, 1)


def test_close_answers_what_waits_and_leaves_nothing():
    bench = served(run_s=None)
    asked = [bench.ask(b"%d" % i) for i in range(50)]
    bench.timers.advance(0.001)
    bench.engine.close()
    assert {one.answer.error.code for one in asked} == {"no_model_ready"}
    bench.assert_idle()
