"""Feedback by input: what all models say, after the fact."""

import asyncio

import pytest
from abstraction_fakes import item_error
from engine_bench import choosing, served

from clipper.errors import UnknownApplication


async def scores(bench, row=b"x", within_s=1.0, application="app"):
    task = asyncio.ensure_future(bench.engine.score_all(application, row, bench.timers.now() + within_s))
    for _ in range(3):
        await asyncio.sleep(0)
        bench.timers.advance(within_s / 2)
    return await task


@pytest.mark.parametrize("policy", ["exp3", "exp4"])
async def test_every_model_is_asked_whatever_the_policy(policy):
    bench = choosing(policy)
    assert await scores(bench) == {model: (f"{model}:1", b'"%s"' % model.encode()) for model in "abc"}
    bench.assert_idle()


async def test_the_one_model_of_an_application_that_does_not_choose_is_asked():
    assert await scores(served()) == {"m": ("m:1", b"out:x")}


async def test_what_the_cache_has_is_not_asked_again():
    bench = choosing("exp4")
    bench.ask()
    bench.timers.advance(0.1)
    await scores(bench)
    assert [len(bench.link(model).batches) for model in "abc"] == [1, 1, 1]


async def test_a_model_that_fails_or_is_late_or_serves_nowhere_has_no_output():
    bench = choosing("exp4")
    bench.application(models=("a", "b", "c", "new"), policy="exp4")
    bench.version("new", current=False, replicas=0)
    bench.apply()
    bench.answers("a", item_error())
    bench.answers("b", None)
    assert await scores(bench) == {"a": ("a:1", None), "b": ("b:1", None), "c": ("c:1", b'"c"'), "new": ("new", None)}


async def test_where_each_version_is_an_arm_it_is_scored_as_that():
    bench = choosing({"name": "exp3", "options": {"new_version": "restart"}})
    assert set(await scores(bench)) == {"a:1", "b:1", "c:1"}


async def test_cancelled_it_takes_back_what_was_asked():
    bench = choosing("exp4")
    for model in "abc":
        bench.answers(model, None)
    task = asyncio.ensure_future(bench.engine.score_all("app", b"x", bench.timers.now() + 1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bench.timers.advance(0.1)
    bench.assert_idle()


async def test_an_unknown_application_is_refused():
    with pytest.raises(UnknownApplication):
        await choosing("exp4").engine.score_all("nobody", b"x", 1.0)
