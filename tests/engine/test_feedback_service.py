"""Feedback from the frontend's hands to the store and back into the choice."""

import asyncio
import json

import pytest
from bad_policies import odd_bandit
from feedback_bench import OUTPUTS, FeedbackBench, by_input, by_query

from clipper.domain import Policy
from clipper.engine.feedback import JOINED_AT_ONCE
from clipper.errors import StoreUnavailable
from clipper.evidence import Evidence


async def test_feedback_by_query_is_logged_with_all_that_was_known_of_the_query():
    bench = FeedbackBench()
    answer = bench.ask(uid="user-7")
    bench.now += 60
    assert await bench.give(by_query(answer, 4)) == [None]
    (record,) = bench.records
    (asked,) = answer.models
    model = asked.partition(":")[0]
    assert (record.application, record.uid, record.query_id) == ("app", "user-7", answer.query_id)
    assert (record.answered_at, record.accepted_at) == (1_000_000.0, 1_000_060.0)
    assert (record.models, record.arms, record.outputs) == ((asked,), (model,), (OUTPUTS[model],))
    assert (record.answer, record.label, record.policy) == (OUTPUTS[model], 4, "exp3")
    assert record.losses == (float(OUTPUTS[model] != 4),)
    assert record.answer_loss == record.losses[0]
    assert record.propensities == (pytest.approx(1 / 3),)
    assert not record.full_information
    assert record.half_life_feedbacks == bench.app.policy.half_life_feedbacks
    assert set(record.change) == {"a", "b", "c"}


async def test_what_is_committed_is_in_effect_at_once_for_everybody_and_the_user():
    bench = FeedbackBench()
    before = dict(bench.app.contexts.shared().weights)
    for _ in range(50):
        await bench.give(by_query(bench.ask(uid="user-7"), 3))
    after = bench.app.contexts.shared().weights
    assert after["a"] > before["a"] > after["b"]
    assert bench.app.contexts.distribution("user-7").weights["a"] > before["a"]


async def test_the_same_query_counts_once():
    bench = FeedbackBench()
    answer = bench.ask()
    assert await bench.give(by_query(answer)) == [None]
    assert await bench.give(by_query(answer), by_query(answer)) == ["duplicate_feedback"] * 2
    assert bench.learnt.n == 1
    assert bench.app.metrics.feedback == {"accepted": 1, "duplicate_feedback": 2}


async def test_twice_in_one_list_counts_once():
    bench = FeedbackBench()
    answer = bench.ask()
    assert await bench.give(by_query(answer), by_query(answer)) == [None, "duplicate_feedback"]


async def test_concurrent_repeats_count_once():
    bench = FeedbackBench()
    answers = [bench.ask(b"%d" % i) for i in range(20)]
    outcomes = await asyncio.gather(*(bench.give(by_query(answer)) for answer in answers * 5))
    assert sum(outcome == [None] for outcome in outcomes) == 20
    assert bench.learnt.n == 20


async def test_feedback_by_input_asks_all_models_and_is_full_information():
    bench = FeedbackBench()
    assert await bench.give(by_input(uid="user-7")) == [None]
    (record,) = bench.records
    assert record.full_information
    assert (record.arms, record.models) == (("a", "b", "c"), ("a:1", "b:1", "c:1"))
    assert (record.outputs, record.losses, record.propensities) == ((3, 4, 5), (0.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert (record.uid, record.query_id, record.answer, record.answer_loss) == ("user-7", None, None, None)
    bench.bench.assert_idle()


async def test_feedback_by_input_is_answered_from_the_cache_where_it_is_there():
    bench = FeedbackBench("exp4")
    bench.ask(b"known")
    sent = len(bench.link("a").batches)
    await bench.give(by_input(b"known"))
    assert len(bench.link("a").batches) == sent
    await bench.give(by_input(b"new"))
    assert len(bench.link("a").batches) == sent + 1


async def test_an_update_id_counts_once_whatever_it_says_and_other_applications_have_their_own():
    bench = FeedbackBench()
    bench.bench.application("other", models=("a", "b"), policy=Policy(name="exp3"))
    bench.bench.apply()
    assert await bench.give(by_input(update_id="order-17")) == [None]
    assert await bench.give(by_input(b"y", 4, update_id="order-17")) == ["duplicate_feedback"]
    assert await bench.give(by_input(update_id="order-18"), by_input()) == [None, None]
    assert await bench.give(by_input(update_id="order-17"), application="other") == [None]


async def test_an_ensemble_records_the_losses_of_all_and_of_the_answer():
    bench = FeedbackBench("exp4", outputs={"a": 3, "b": 3, "c": 5})
    answer = bench.ask()
    assert json.loads(answer.output) == 3
    assert await bench.give(by_query(answer, 3)) == [None]
    (record,) = bench.records
    assert record.losses == (0.0, 0.0, 1.0)
    assert record.propensities == (1.0, 1.0, 1.0)
    assert (record.answer, record.answer_loss) == (3, 0.0)
    assert bench.app.metrics.loss_sum == 0.0
    assert bench.app.metrics.loss_count == 1


async def test_feedback_by_input_for_an_ensemble_has_the_answer_that_it_would_give():
    bench = FeedbackBench("exp4", outputs={"a": 3, "b": 3, "c": 5})
    await bench.give(by_input(label=5))
    (record,) = bench.records
    assert (record.answer, record.answer_loss) == (3, 1.0)


async def test_large_outputs_are_found_in_memory_and_forgotten_with_the_feedback():
    large = {model: [float(i)] * 1000 for i, model in enumerate("abc")}
    bench = FeedbackBench("exp4", outputs=large, loss="absolute")
    answer = bench.ask()
    assert len(bench.bench.engine.selection.outputs) == 1
    bench.store.failure = StoreUnavailable("no disk")
    with pytest.raises(StoreUnavailable):
        await bench.give(by_query(answer, [0.0] * 1000))
    bench.store.failure = None
    assert await bench.give(by_query(answer, [0.0] * 1000)) == [None]
    assert bench.records[0].losses == (0.0, 1.0, 1.0)
    assert len(bench.bench.engine.selection.outputs) == 0


async def test_outputs_that_nobody_knows_any_more_are_logged_as_such():
    large = {model: [float(i)] * 1000 for i, model in enumerate("abc")}
    bench = FeedbackBench("exp4", outputs=large, loss="absolute")
    answer = bench.ask()
    (nonce,) = bench.bench.engine.selection.outputs._kept
    bench.bench.engine.selection.outputs.forget(nonce)
    assert await bench.give(by_query(answer, [0.0] * 1000)) == [None]
    (record,) = bench.records
    assert record.losses == (None, None, None)
    assert record.change == {}


async def test_a_default_is_logged_as_the_answer_and_the_model_as_unknown():
    bench = FeedbackBench(default_output=-1)
    for model in OUTPUTS:
        bench.link(model).lose()
    answer = bench.ask()
    assert answer.default
    assert await bench.give(by_query(answer, 3)) == [None]
    (record,) = bench.records
    assert (record.default, record.answer, record.answer_loss) == (True, -1, 1.0)
    assert record.losses == (None,)


@pytest.mark.parametrize(
    ("keeps", "digest", "row"), [("none", False, None), ("digest", True, None), ("full", True, b"x")]
)
async def test_the_log_has_as_much_of_the_input_as_is_configured(keeps, digest, row):
    bench = FeedbackBench(log_inputs=keeps)
    await bench.give(by_query(bench.ask()), by_input())
    for record in bench.records:
        assert (bool(record.input_digest), record.input) == (digest, row)
    if digest:
        assert len({record.input_digest for record in bench.records}) == 1


@pytest.mark.parametrize(
    "policy", ["single", "epsilon_greedy", "ucb1", "thompson", "exp3", "exp4", "majority", "average", "ab"]
)
async def test_feedback_by_input_is_accepted_under_every_policy(policy):
    bench = FeedbackBench(policy, outputs={"a": 3.0} if policy == "single" else {"a": 3.0, "b": 4.0})
    assert await bench.give(by_input(label=3)) == [None]


async def test_losses_are_counted_by_version_and_repeats_are_not():
    bench = FeedbackBench()
    await bench.give(by_input(update_id="1"), by_input(update_id="2", label=4))
    await bench.give(by_input(update_id="1"))
    counted = {key[0]: (m.loss_sum, m.loss_count) for key, m in bench.bench.engine.fleet.metrics.items()}
    assert counted == {"a": (1.0, 2), "b": (1.0, 2), "c": (2.0, 2)}


async def test_a_long_list_is_joined_in_pieces_so_that_others_get_their_turn():
    bench = FeedbackBench()
    answers = [bench.ask(b"%d" % i) for i in range(3 * JOINED_AT_ONCE)]
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    outcomes = await bench.service.update("app", [by_query(answer) for answer in answers])
    counting.cancel()
    assert outcomes == [None] * len(answers)
    assert turns >= 3
    assert bench.store.groups == [len(answers)]


async def test_weights_equal_a_recomputation_from_the_log_in_any_order():
    bench = FeedbackBench(options={"half_life_feedbacks": None})
    for i in range(60):
        await bench.give(by_query(bench.ask(b"%d" % i, uid=f"user-{i % 3}"), i % 4))
        await bench.give(by_input(b"%d" % i, i % 5))
    again = Evidence()
    for record in reversed(bench.records):
        again.add(record.change, record.half_life_feedbacks)
    assert again.n == bench.learnt.n == 120
    for arm, sums in bench.learnt.sums.items():
        assert again.sums[arm] == pytest.approx(sums, rel=1e-9)


async def test_feedback_that_comes_after_a_model_was_added_says_nothing_about_it():
    bench = FeedbackBench(outputs={"a": 3, "b": 4, "c": 3})
    bench.bench.application(models=("a", "b"), policy=Policy(name="exp3"))
    bench.bench.apply()
    earlier = [bench.ask(b"%d" % i) for i in range(300)]
    bench.bench.application(models=("a", "b", "c"), policy=Policy(name="exp3"))
    bench.bench.apply()
    fair = bench.app.contexts.shared().weights["c"]
    assert await bench.give(*(by_query(answer, 5) for answer in earlier)) == [None] * 300
    assert all(set(record.change) == {"a", "b"} for record in bench.records)
    assert bench.app.contexts.shared().weights["c"] < 0.9
    assert fair == pytest.approx(1 / 3)


@pytest.mark.parametrize("change", [{7: {"loss": 1.0}}, {"a": {7: 1.0}}, {"a": {"loss": "1"}}, {"a": 1.0}, None])
async def test_a_change_that_could_not_be_read_again_is_not_stored(change, monkeypatch):
    monkeypatch.setattr("clipper.engine.application.policy_named", lambda *_: odd_bandit(observe=change))
    bench = FeedbackBench()
    assert await bench.give(by_query(bench.ask())) == [None]
    (record,) = bench.records
    assert record.change == {}
