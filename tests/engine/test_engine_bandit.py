"""Policies that choose one model for each query."""

from collections import Counter

import pytest
from abstraction_fakes import item_error
from bad_policies import Deaf, odd_bandit
from engine_bench import EngineBench, choosing

AB = {"name": "ab", "options": {"shares": {"a": 50, "b": 30, "c": 20}}}


def answered(bench, row=b"x", **fields):
    asked = bench.ask(row, **fields)
    bench.timers.advance(0.2)
    return asked


@pytest.mark.parametrize(("chance", "model"), [(0.0, "a"), (0.49, "a"), (0.51, "b"), (0.79, "b"), (0.81, "c")])
def test_the_draw_decides_who_answers(chance, model):
    bench = choosing(AB)
    bench.chance = chance
    answer = answered(bench).answer
    assert (answer.output, answer.models) == (b'"%s"' % model.encode(), (f"{model}:1",))
    assert (answer.confidence, answer.missing, answer.fallback) == (None, None, None)
    assert bench.metrics().selection.choices == {f"{model}:1": 1}
    bench.assert_idle()


def test_the_id_says_what_was_chosen_and_how_likely_it_was():
    bench = choosing("exp3")
    bench.chance = 0.6
    asked = answered(bench, b"row", uid="user-7")
    claims = bench.claims(asked)
    assert (claims.arms, claims.models, claims.outputs) == (["b"], ["b:1"], [b'"b"'])
    assert claims.propensities == [pytest.approx(1 / 3)]
    assert (claims.uid, claims.generation, claims.answered_at) == ("user-7", 0, 1e9)
    assert claims.input_digest == bench.selection.token_key.input_digest(b"row")
    assert (claims.answer, claims.default, claims.eligible) == (None, False, ["a", "b", "c"])


def test_feedback_moves_the_choice():
    bench = choosing("exp3")
    bench.chance = 0.5
    before = answered(bench, b"1").answer.models
    bench.learn(a=[0.0] * 50, b=[1.0] * 50, c=[1.0] * 50)
    assert before == ("b:1",)
    assert answered(bench, b"2").answer.models == ("a:1",)


def test_a_user_is_served_by_what_is_known_of_the_user():
    bench = choosing("exp3")
    bench.chance = 0.5
    bench.learn(a=[0.0] * 50, b=[1.0] * 50, c=[1.0] * 50)
    bench.learn(uid="user-7", a=[1.0] * 50, b=[1.0] * 50, c=[0.0] * 50)
    assert answered(bench, b"1").answer.models == ("a:1",)
    assert answered(bench, b"2", uid="user-7").answer.models == ("c:1",)


def test_under_fixed_shares_a_user_keeps_a_model_and_the_shares_are_kept_too():
    bench = choosing(AB)
    users = {f"user-{i}": answered(bench, b"%d" % i, uid=f"user-{i}").answer.models for i in range(1000)}
    again = {uid: answered(bench, b"again", uid=uid).answer.models for uid in users}
    assert again == users
    shares = Counter(users.values())
    assert [round(shares[f"{model}:1",] / 1000, 1) for model in "abc"] == [0.5, 0.3, 0.2]
    propensities = dict(zip("abc", (0.5, 0.3, 0.2), strict=True))
    asked = answered(bench, uid="user-1")
    assert bench.claims(asked).propensities == [propensities[bench.claims(asked).arms[0]]]


def test_another_application_gives_its_users_other_places():
    bench = choosing(AB)
    bench.application("other", models=("a", "b", "c"), policy=AB)
    bench.apply()
    first = [answered(bench, uid=f"u{i}").answer.models for i in range(60)]
    second = [answered(bench, uid=f"u{i}", application="other").answer.models for i in range(60)]
    assert first != second


def test_a_model_without_a_ready_replica_is_not_chosen_and_the_others_share_its_chances():
    bench = choosing(AB)
    bench.link("a").lose()
    bench.chance = 0.0
    asked = answered(bench)
    claims = bench.claims(asked)
    assert asked.answer.models == ("b:1",)
    assert claims.propensities == [pytest.approx(0.6)]
    assert claims.eligible == ["b", "c"]
    bench.link("a").connect()
    again = answered(bench, b"y")
    assert again.answer.models == ("a:1",)
    assert bench.claims(again).eligible == ["a", "b", "c"]


def test_while_no_replica_is_ready_a_query_waits_for_one_that_comes_back():
    bench = choosing(AB)
    for model in "abc":
        bench.link(model).lose()
    asked = bench.ask()
    bench.timers.advance(0.01)
    bench.link("a").connect()
    bench.timers.advance(0.05)
    assert asked.answer.models == ("a:1",)


def test_a_model_that_raises_is_named_and_gives_its_error_or_the_default():
    bench = choosing(AB)
    bench.answers("a", item_error("ValueError: no"))
    failed = answered(bench)
    assert (failed.answer.error.code, failed.answer.models, failed.answer.default) == ("model_error", ("a:1",), False)
    bench.application(models=("a", "b", "c"), policy=AB, default_output=-1)
    bench.apply()
    answer = answered(bench).answer
    assert (answer.output, answer.default, answer.models) == (b"-1", True, ("a:1",))
    assert answer.default_explanation.startswith("model_error: ")
    claims = bench.claims(answered(bench))
    assert (claims.outputs, claims.answer, claims.default) == ([b""], b"-1", True)


def test_an_output_that_is_too_large_for_an_id_is_kept_here():
    bench = choosing(AB)
    scores = b"[%s]" % b",".join([b"0.5"] * 1000)
    bench.answers("a", scores)
    claims = bench.claims(answered(bench))
    assert claims.outputs == [None]
    assert bench.selection.outputs.get(claims.nonce) == {"a:1": scores}


@pytest.mark.parametrize(
    ("logged", "digest", "row"), [("none", False, None), ("digest", True, None), ("full", True, b"x")]
)
def test_the_input_is_remembered_as_the_application_wants_it(logged, digest, row):
    bench = choosing(AB, log_inputs=logged)
    claims = bench.claims(answered(bench, b"x"))
    assert bool(claims.input_digest) == digest
    assert bench.selection.outputs.get_input(claims.nonce) == row


def test_each_id_has_a_nonce_of_its_own():
    bench = choosing(AB)
    nonces = {bench.claims(answered(bench, b"same")).nonce for _ in range(50)}
    assert len(nonces) == 50


def test_without_the_stores_key_queries_are_answered_all_the_same():
    bench = choosing(AB)
    bench.selection.token_key = None
    answer = answered(bench).answer
    assert answer.output == b'"a"'
    assert len(answer.query_id) < 20


def test_where_nothing_is_learnt_ids_carry_nothing(monkeypatch):
    monkeypatch.setattr("clipper.engine.application.policy_named", lambda *_: Deaf())
    bench = choosing("exp3", log_inputs="full")
    answer = answered(bench, uid="u").answer
    assert answer.models == ("a:1",)
    assert len(answer.query_id) < 20
    assert len(bench.selection.outputs) == 0


def test_explain_tells_among_what_and_how_it_was_chosen():
    bench = choosing(AB)
    bench.chance = 0.6
    story = answered(bench, explain=True).answer.explanation
    assert (story["policy"], story["chosen"], story["context"]) == ("ab", "b", "shared")
    assert story["weights"] == pytest.approx({"a": 0.5, "b": 0.3, "c": 0.2})
    model = story["models"]["b:1"]
    assert (model["propensity"], model["weight"]) == (pytest.approx(0.3), pytest.approx(0.3))
    assert (model["cache"], model["batch_size"], model["replica"]) == ("miss", 1, "b.1.g1.r0")
    assert answered(bench, explain=True, uid="u").answer.explanation["context"] == "user"


def test_a_version_cannot_be_forced():
    bench = choosing(AB, default_output=-1)
    answer = answered(bench, version="1").answer
    assert (answer.error.code, answer.default) == ("invalid_request", False)
    bench.assert_idle()


def test_an_application_without_models_says_so():
    bench = EngineBench()
    bench.application(models=(), policy="exp3", default_output=7)
    bench.apply()
    assert answered(bench).answer.default_explanation.startswith(
        "no_model_ready: Application 'app' has no linked model"
    )
    bench.assert_idle()


def test_a_models_new_version_inherits_what_the_model_has_earned():
    bench = choosing("exp3")
    bench.learn(a=[0.0] * 50, b=[1.0] * 50, c=[1.0] * 50)
    bench.version("a", "2")
    bench.apply()
    bench.chance = 0.5
    asked = answered(bench)
    assert asked.answer.models == ("a:2",)
    assert bench.claims(asked).arms == ["a"]


def test_a_models_new_version_begins_anew_where_the_application_wants_it():
    bench = choosing({"name": "exp3", "options": {"new_version": "restart"}})
    bench.learn(a_1=[0.0] * 50, b_1=[1.0] * 50, c_1=[1.0] * 50)
    bench.chance = 0.9
    assert answered(bench).answer.models == ("a:1",)
    bench.version("c", "2")
    bench.apply()
    asked = answered(bench, b"y")
    assert asked.answer.models == ("c:2",)
    assert bench.claims(asked).arms == ["c:2"]
    assert bench.claims(asked).propensities[0] > 0.2


def test_a_new_version_is_no_arm_before_it_can_answer():
    bench = choosing({"name": "exp3", "options": {"new_version": "restart"}})
    bench.auto_connect = False
    bench.version("c", "2")
    bench.apply()
    assert bench.engine.application("app").contexts.arms == ("a:1", "b:1", "c:1")
    bench.links["c.2.g1.r0"].connect()
    answered(bench)
    assert bench.engine.application("app").contexts.arms == ("a:1", "b:1", "c:2")


def test_a_query_under_way_is_joined_by_what_it_asked_whatever_changes_meanwhile():
    bench = choosing(AB, run_s=lambda _size: 0.02)
    asked = bench.ask()
    bench.timers.advance(0.001)
    bench.version("a", "2")
    bench.application(models=("a", "b"), policy="exp3")
    bench.apply()
    bench.timers.advance(0.1)
    claims = bench.claims(asked)
    assert (claims.models, claims.propensities) == (["a:1"], [0.5])


@pytest.mark.parametrize("said", [[1.0], [0.5, 0.6, -0.1], [0.2, 0.2, 0.2], ZeroDivisionError("no")])
class TestOfAPolicyThatFails:
    @pytest.fixture
    def bench(self, said, monkeypatch):
        monkeypatch.setattr("clipper.engine.application.policy_named", lambda *_: odd_bandit(distribution=said))
        return choosing("exp3")

    def test_the_best_known_model_answers_and_the_reason_is_given(self, bench):
        bench.learn(a=[0.9] * 5, b=[0.1] * 5, c=[0.5] * 5)
        asked = answered(bench, explain=True)
        assert (asked.answer.output, asked.answer.models, asked.answer.error) == (b'"b"', ("b:1",), None)
        assert asked.answer.fallback.code == "policy_failed"
        assert asked.answer.explanation["fallback"]["code"] == "policy_failed"
        assert bench.metrics().selection.fallbacks == {"distribution": 1}
        assert bench.claims(asked).propensities == [1.0]

    def test_the_best_one_that_can_be_asked_answers(self, bench):
        bench.learn(a=[0.9] * 5, b=[0.1] * 5, c=[0.5] * 5)
        bench.link("b").lose()
        assert answered(bench).answer.models == ("c:1",)

    def test_the_default_answers_while_nothing_is_known_of_any_model(self, bench):
        bench.application(models=("a", "b", "c"), policy="exp3", default_output=-1)
        bench.apply()
        answer = answered(bench).answer
        assert (answer.output, answer.default, answer.models) == (b"-1", True, ())
        assert answer.default_explanation.startswith("policy_failed: The policy 'exp3'")
        bench.assert_idle()

    def test_some_model_answers_where_there_is_no_default_either(self, bench):
        assert answered(bench).answer.output == b'"a"'
