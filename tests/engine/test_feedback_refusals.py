"""Feedback that cannot be joined, scored or committed: who is told what, and what is lost (nothing)."""

import asyncio

import msgspec
import pytest
from abstraction_fakes import item_error
from feedback_bench import OUTPUTS, RETENTION_S, FeedbackBench, by_input, by_query

from clipper.domain import Policy
from clipper.engine.update import Update
from clipper.errors import ShuttingDown, StoreUnavailable, UnknownApplication


async def test_a_model_that_fails_is_left_out_and_nothing_made_up():
    bench = FeedbackBench()
    bench.link("b").answer = lambda _row: item_error("ValueError: no")
    assert await bench.give(by_input()) == [None]
    (record,) = bench.records
    assert record.losses == (0.0, None, 1.0)
    assert record.outputs == (3, None, 5)
    assert "b" not in record.change


async def test_while_no_model_can_be_asked_feedback_by_input_is_told_to_come_back():
    bench = FeedbackBench()
    for model in OUTPUTS:
        bench.link(model).lose()
    assert await bench.give(by_input()) == ["no_model_ready"]
    assert bench.records == []


async def test_ids_that_are_foreign_altered_or_of_another_application_are_unknown():
    bench = FeedbackBench()
    bench.bench.application("other", models=("a",), policy=Policy(name="exp3"))
    bench.bench.apply()
    answer = bench.ask()
    altered = answer.query_id[:-1] + ("A" if answer.query_id[-1] != "A" else "B")
    for query_id in ("nonsense", altered, "é", answer.query_id + "A"):
        assert await bench.give(Update(label=3, query_id=query_id)) == ["unknown_query"]
    assert await bench.give(by_query(answer), application="other") == ["unknown_query"]


async def test_ids_of_a_deleted_application_of_the_same_name_are_unknown():
    bench = FeedbackBench()
    answer = bench.ask()
    bench.bench.engine.applications["app"].generation += 1
    (error,) = await bench.service.update("app", [by_query(answer)])
    assert (error.code, error.http_status, "send the input instead" in error.message) == ("unknown_query", 410, True)


async def test_feedback_past_the_retention_is_unknown_with_the_way_out():
    bench = FeedbackBench()
    early, late = bench.ask(b"1"), bench.ask(b"2")
    bench.now += RETENTION_S - 1
    assert await bench.give(by_query(late)) == [None]
    bench.now += 2
    (error,) = await bench.service.update("app", [by_query(early)])
    assert (error.code, "send the input instead" in error.message) == ("unknown_query", True)


async def test_feedback_on_a_query_of_a_person_who_was_erased_since_is_unknown_with_the_way_out():
    bench = FeedbackBench()
    answer = bench.ask(uid="ann")
    bench.store.erased = {"ann"}
    (error,) = await bench.service.update("app", [by_query(answer)])
    assert (error.http_status, error.code, "send the input instead" in error.message) == (410, "unknown_query", True)
    assert bench.app.metrics.feedback == {"unknown_query": 1}


async def test_an_application_that_does_not_learn_takes_inputs_only():
    bench = FeedbackBench("single", outputs={"a": 3})
    answer = bench.ask()
    (error,) = await bench.service.update("app", [by_query(answer)])
    assert (error.code, "send the input instead" in error.message) == ("unknown_query", True)
    assert await bench.give(by_input(label=4)) == [None]
    (record,) = bench.records
    assert (record.policy, record.losses, record.answer, record.answer_loss) == ("single", (1.0,), 3, 1.0)


async def test_a_label_of_another_kind_is_refused_and_its_neighbours_are_not():
    bench = FeedbackBench()
    assert await bench.give(by_input(label="cat"), by_input(label=3)) == ["invalid_label", None]
    assert await bench.give(by_query(bench.ask(), "cat")) == ["invalid_label"]


@pytest.mark.parametrize("label", [2**64, -(2**63) - 1, 10**25])
async def test_an_integer_that_the_log_cannot_hold_is_refused_and_its_neighbours_are_not(label):
    bench = FeedbackBench()
    assert await bench.give(by_query(bench.ask(), label), by_input(label=label), by_input()) == [
        "invalid_label",
        "invalid_label",
        None,
    ]
    assert await bench.give(by_input(label=2**64 - 1), by_input(label=-(2**63))) == [None, None]
    with pytest.raises(OverflowError):
        msgspec.msgpack.encode(label)  # what the store would have met


async def test_an_integer_deep_in_a_label_is_refused_too():
    bench = FeedbackBench(outputs={"a": {"x": [1]}, "b": {"x": [2]}})
    assert await bench.give(by_input(label={"x": [2**64]}), by_input(label={"x": [1]})) == ["invalid_label", None]


async def test_an_unknown_application_raises():
    with pytest.raises(UnknownApplication):
        await FeedbackBench().give(by_input(), application="nobody")


async def test_a_store_that_fails_takes_nothing_and_everything_again_later():
    bench = FeedbackBench()
    answer = bench.ask()
    bench.store.failure = StoreUnavailable("the disk is full", retry_after_s=1.0)
    with pytest.raises(StoreUnavailable):
        await bench.give(by_query(answer))
    assert bench.app.metrics.feedback == {"store_unavailable": 1}
    bench.store.failure = None
    assert await bench.give(by_query(answer)) == [None]


async def test_without_the_key_feedback_is_told_to_come_back():
    bench = FeedbackBench()
    answer = bench.ask()
    bench.bench.engine.selection.token_key = None
    assert await bench.give(by_query(answer), by_input()) == ["store_unavailable"] * 2


async def test_a_policy_that_fails_in_observing_costs_what_it_would_have_learnt_and_not_the_label(caplog):
    bench = FeedbackBench()
    answer = bench.ask()
    for nonsense in (lambda _: 1 / 0, lambda _: {"a": {"loss": float("nan")}}, lambda _: None):
        bench.app.policy.__class__ = type("Broken", (type(bench.app.policy),), {"observe": staticmethod(nonsense)})
        assert await bench.give(by_input()) == [None]
    assert all(record.change == {} for record in bench.records)
    assert await bench.give(by_query(answer)) == [None]
    assert "learns nothing of it" in caplog.text


async def test_a_caller_that_goes_while_models_are_asked_leaves_nothing_behind():
    bench = FeedbackBench()
    task = asyncio.create_task(bench.service.update("app", [by_input()]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    bench.bench.timers.advance(1.0)
    bench.bench.assert_idle()
    assert bench.records == []


async def test_closed_it_takes_nothing():
    bench = FeedbackBench()
    await bench.service.close(5.0)
    with pytest.raises(ShuttingDown):
        await bench.give(by_input())
