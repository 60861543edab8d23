"""Policies that ask all models and combine what has come by the deadline."""

import pytest
from abstraction_fakes import MARGIN_S, item_error
from bad_policies import Greedy, odd_ensemble
from engine_bench import choosing

from clipper.abstraction.flight import MAX_LINGERING
from clipper.engine.ensemble import LATE_OUTPUT_S
from clipper.engine.outputs import ANSWER

SLO_S = 0.1


def ensemble(models="abcde", policy="exp4", *, outputs=None, **application):
    bench = choosing(policy, models, **application)
    for model in models:
        bench.answers(model, (outputs or {}).get(model, b"1"))
    return bench


def answered(bench, row=b"x", **fields):
    asked = bench.ask(row, **fields)
    bench.timers.advance(0.2)
    return asked


def test_all_models_answer_as_one():
    bench = ensemble()
    asked = bench.ask()
    bench.timers.advance(0.01)
    answer = asked.answer
    assert (answer.output, answer.default, answer.missing) == (b"1", False, ())
    assert answer.models == ("a:1", "b:1", "c:1", "d:1", "e:1")
    assert answer.confidence == pytest.approx(1.0)
    claims = bench.claims(asked)
    assert (claims.arms, claims.models) == (list("abcde"), [f"{model}:1" for model in "abcde"])
    assert (claims.propensities, claims.outputs, claims.answer) == ([1.0] * 5, [b"1"] * 5, b"1")
    bench.assert_idle()


def test_the_weightier_models_win_and_those_that_disagree_lower_the_confidence():
    bench = ensemble("abc", outputs={"a": b"7"})
    bench.learn(a=[0.0] * 50, b=[1.0] * 50, c=[1.0] * 50)
    answer = answered(bench).answer
    assert answer.output == b"7"
    assert 0.5 < answer.confidence <= 1.0
    assert answered(ensemble("abc", outputs={"a": b"7"})).answer.output == b"1"


def test_the_answer_goes_out_a_margin_before_the_deadline_with_what_has_come():
    bench = ensemble()
    bench.answers("b", None)
    bench.answers("d", item_error("ValueError: no"))
    asked = bench.ask()
    bench.timers.advance(SLO_S - MARGIN_S - 0.0005)
    assert asked.answers == []
    bench.timers.advance(0.0006)
    answer = asked.answer
    assert (answer.output, answer.missing, answer.default) == (b"1", ("b:1", "d:1"), False)
    assert answer.confidence == pytest.approx(0.6)
    assert bench.metrics().selection.missing == {("b:1", "deadline_exceeded"): 1, ("d:1", "model_error"): 1}
    assert bench.claims(asked).outputs == [b"1", None, b"1", None, b"1"]


def test_timeout_ms_moves_the_answer_forward():
    bench = ensemble()
    bench.answers("b", None)
    asked = bench.ask(timeout_ms=5)
    bench.timers.advance(0.005)
    assert asked.answer.missing == ("b:1",)


def test_one_slow_member_delays_nobody_however_many_queries_there_are():
    bench = ensemble()
    bench.answers("c", None)
    asked = []
    for i in range(300):
        asked.append(bench.ask(b"%d" % i))
        bench.timers.advance(0.002)
        due = asked[: max(0, i - round(SLO_S / 0.002) + 1)]
        assert all(one.answers for one in due)
    bench.timers.advance(SLO_S)
    assert all(one.answer.missing == ("c:1",) for one in asked)


def test_a_late_output_is_kept_for_the_feedback():
    bench = ensemble("abc")
    bench.answers("b", None)
    asked = answered(bench)
    claims = bench.claims(asked)
    assert (asked.answer.missing, claims.outputs) == (("b:1",), [b"1", None, b"1"])
    assert bench.engine.leaks()["late_members"] == 1
    bench.link("b").reply()
    assert bench.selection.outputs.get(claims.nonce) == {"b:1": b"1"}
    assert len(asked.answers) == 1
    bench.assert_idle()


def test_what_never_comes_is_not_waited_for_for_ever():
    bench = ensemble("abc")
    bench.answers("b", None)
    answered(bench)
    bench.timers.advance(LATE_OUTPUT_S + 1)
    assert bench.engine.leaks()["late_members"] == 0
    bench.link("b").reply()
    assert len(bench.selection.outputs) == 0
    bench.assert_idle()


@pytest.mark.parametrize("refuses", [True, False])
def test_late_outputs_that_come_to_nothing_are_not_made_again(refuses):
    bench = ensemble("abc")
    bench.answers("b", None)
    link = bench.link("b")
    asked = bench.ask()
    bench.timers.advance(SLO_S - MARGIN_S)
    assert asked.answer.missing == ("b:1",)
    executed = len(link.batches)
    link.refuse() if refuses else link.lose()
    bench.timers.turn()
    assert bench.engine.leaks()["late_members"] == bench.engine.leaks()["queued"] == 0
    bench.timers.advance(0.1)
    link.connect()
    bench.timers.advance(0.1)
    assert len(link.batches) == executed
    bench.assert_idle()


def test_few_wait_for_the_late_output_that_very_many_share():
    bench = ensemble("abc")
    bench.answers("b", None)
    for _ in range(10 * MAX_LINGERING):
        bench.ask(b"hot")
        bench.timers.advance(0.001)
    bench.timers.advance(SLO_S)
    assert 0 < bench.engine.leaks()["late_members"] <= MAX_LINGERING
    bench.link("b").reply()
    bench.timers.advance(0.01)
    bench.assert_idle()


def test_what_still_waits_for_its_batch_is_taken_back_and_not_executed():
    bench = ensemble("ab")
    bench.answers("b", None)
    for i in range(10):
        bench.ask(b"%d" % i)
    bench.timers.advance(SLO_S)
    sent = sum(map(len, bench.link("b").batches))
    assert sent < 10
    assert bench.engine.leaks()["late_members"] == sent
    assert bench.engine.leaks()["queued"] == 0


def test_outputs_that_are_too_large_for_an_id_are_kept_here():
    bench = ensemble("ab", outputs={"a": b"[%s]" % b",".join([b"0.5"] * 500), "b": b"[1.0]"})
    claims = bench.claims(answered(bench))
    assert claims.outputs == [None, None]
    assert {"a:1", "b:1"} <= set(bench.selection.outputs.get(claims.nonce))


def test_an_answer_that_is_too_large_for_an_id_is_kept_here():
    scores = b"[%s]" % b",".join([b"0.5"] * 500)
    bench = ensemble("ab", outputs={"a": scores, "b": scores})
    asked = answered(bench)
    claims = bench.claims(asked)
    assert claims.answer is None
    assert bench.selection.outputs.get(claims.nonce)[ANSWER] == asked.answer.output


def test_with_nothing_in_time_it_is_late():
    bench = ensemble("abc")
    for model in "abc":
        bench.answers(model, None)
    answer = answered(bench).answer
    assert (answer.error.code, answer.default) == ("deadline_exceeded", False)
    assert "None of the 3 models of application 'app'" in answer.error.message


def test_with_nothing_but_errors_the_weightiest_models_error_is_told():
    bench = ensemble("abc", default_output=-1)
    bench.learn(a=[1.0] * 50, b=[0.0] * 50, c=[1.0] * 50)
    for model in "abc":
        bench.answers(model, item_error(f"ValueError: {model}"))
    asked = bench.ask()
    bench.timers.advance(0.01)
    assert (asked.answer.output, asked.answer.default) == (b"-1", True)
    assert asked.answer.default_explanation == "model_error: b:1: ValueError: b"
    assert asked.answer.missing == ("a:1", "b:1", "c:1")
    claims = bench.claims(asked)
    assert (claims.outputs, claims.answer, claims.default) == ([None] * 3, b"-1", True)


def test_a_model_without_any_version_is_missing_under_its_name():
    bench = ensemble("abc")
    bench.application(models=("a", "b", "c", "new"), policy="exp4")
    bench.version("new", current=False, replicas=0)
    bench.apply()
    asked = bench.ask()
    bench.timers.advance(0.01)
    assert asked.answer.missing == ("new",)
    assert asked.answer.confidence == pytest.approx(0.75)


def test_a_model_whose_replica_is_gone_is_missing():
    bench = ensemble("abc")
    bench.link("b").lose()
    assert answered(bench).answer.missing == ("b:1",)


@pytest.mark.parametrize(("wanted", "default"), [(0.7, True), (0.5, False)])
def test_too_little_confidence_gives_way_to_the_default(wanted, default):
    bench = ensemble("abc", outputs={"a": b"2"}, min_confidence=wanted, default_output=-1)
    answer = answered(bench).answer
    assert (answer.default, answer.output) == (default, b"-1" if default else b"1")
    assert answer.confidence == pytest.approx(2 / 3)
    if default:
        assert answer.default_explanation.startswith("low_confidence: The models agree with a confidence of 0.667;")


def test_without_a_default_the_confidence_is_told_and_the_answer_stands():
    bench = ensemble("abc", outputs={"a": b"2"}, min_confidence=0.9)
    answer = answered(bench).answer
    assert (answer.output, answer.error) == (b"1", None)


def test_disagreement_is_counted():
    bench = ensemble("ab")
    answered(bench, b"1")
    bench.answers("a", b"2")
    answered(bench, b"2")
    selection = bench.metrics().selection
    assert (selection.combined, selection.disagreements) == (2, 1)
    assert selection.choices == {"a:1": 2, "b:1": 2}


def test_cached_outputs_answer_at_once():
    bench = ensemble("abc")
    answered(bench)
    again = bench.ask(explain=True)
    assert again.answer.output == b"1"
    assert {model["cache"] for model in again.answer.explanation["models"].values()} == {"hit"}
    bench.assert_idle()


def test_explain_tells_what_each_member_did():
    bench = ensemble("abc")
    bench.answers("b", item_error("ValueError: no"))
    story = answered(bench, explain=True).answer.explanation
    assert (story["policy"], story["chosen"], story["context"]) == ("exp4", None, "shared")
    assert story["weights"] == pytest.approx(dict.fromkeys("abc", 1 / 3))
    assert set(story["models"]) == {"a:1", "b:1", "c:1"}
    assert (story["models"]["a:1"]["propensity"], story["models"]["a:1"]["batch_size"]) == (1.0, 1)
    assert story["models"]["b:1"]["error"]["code"] == "model_error"


def test_cancelled_it_takes_everything_back():
    bench = ensemble("abc")
    bench.answers("c", None)
    asked = bench.ask()
    bench.engine.cancel(asked.ticket)
    bench.engine.cancel(asked.ticket)
    bench.timers.advance(1)
    assert asked.answers == []
    assert bench.metrics().outcomes == {("cancelled", ""): 1}
    bench.assert_idle()


def test_closed_it_answers_with_what_has_come():
    bench = ensemble("abc")
    bench.answers("b", None)
    asked = bench.ask()
    bench.timers.advance(0.01)
    bench.engine.close()
    assert (asked.answer.output, asked.answer.missing) == (b"1", ("b:1",))
    bench.assert_idle()


def test_queries_under_way_are_answered_by_the_versions_that_have_them():
    bench = ensemble("ab", run_s=lambda _size: 0.02)
    asked = bench.ask()
    bench.timers.advance(0.001)
    bench.version("a", "2")
    bench.apply()
    bench.timers.advance(0.1)
    assert asked.answer.models == ("a:1", "b:1")
    assert asked.answer.missing == ()


def test_the_combination_follows_the_weights():
    bench = ensemble("ab", outputs={"a": b"1", "b": b"2"})
    bench.learn(a=[0.0] * 20, b=[1.0] * 20)
    first = answered(bench).answer.output
    bench.learn(a=[1.0] * 400, b=[0.0] * 400)
    assert (first, answered(bench).answer.output) == (b"1", b"2")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (ZeroDivisionError("no"), "raised in combine(): ZeroDivisionError: no"),
        (None, "raised in combine(): TypeError"),
        ((1,), "raised in combine(): ValueError"),
        ((object(), 0.5), "raised in combine(): TypeError"),
        ((1, 1.5), "confidence of 1.5"),
        ((1, -0.1), "confidence of -0.1"),
        ((1, float("nan")), "confidence of nan"),
        ((1, "high"), "raised in combine(): TypeError"),
        ((1, True), "confidence of True"),
        ((float("inf"), 0.5), "no JSON"),
        (([0.5, float("nan")], 0.5), "no JSON"),
        (({"score": [float("nan")]}, 0.5), "no JSON"),
    ],
)
def test_nonsense_from_the_policy_is_contained(said, complaint, monkeypatch):
    monkeypatch.setattr("clipper.engine.application.policy_named", lambda *_: odd_ensemble(combine=said))
    bench = ensemble("abc", outputs={"b": b"2"})
    bench.learn(a=[0.9] * 5, b=[0.1] * 5, c=[0.5] * 5)
    answer = answered(bench).answer
    assert (answer.output, answer.error, answer.confidence) == (b"2", None, None)
    assert answer.fallback.code == "policy_failed"
    assert complaint in answer.fallback.message
    assert bench.metrics().selection.fallbacks == {"combine": 1}


def test_without_the_best_model_the_next_best_answers_for_a_policy_that_fails(monkeypatch):
    monkeypatch.setattr("clipper.engine.application.policy_named", lambda *_: odd_ensemble(distribution=[1.0]))
    bench = ensemble("abc", outputs={"b": item_error(), "c": b"3"})
    bench.learn(a=[0.9] * 5, b=[0.1] * 5, c=[0.5] * 5)
    answer = answered(bench).answer
    assert (answer.output, answer.missing) == (b"3", ("b:1",))
    assert bench.metrics().selection.fallbacks == {"distribution": 1}
    bench.assert_idle()


def test_a_policy_that_changes_what_it_is_given_changes_nothing_for_the_next_query(monkeypatch):
    monkeypatch.setattr("clipper.engine.application.policy_named", lambda *_: Greedy())
    bench = ensemble("abc", outputs={"b": b"2"})
    for i in range(3):
        assert answered(bench, b"%d" % i).answer.fallback is None
        bench.answers("b", b"%d" % (i + 3))
    assert answered(bench, explain=True).answer.explanation["weights"] == pytest.approx(dict.fromkeys("abc", 1 / 3))
