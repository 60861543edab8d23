"""Models that fail query after query are left alone, before any label comes, and taken back when they are well."""

import random

import pytest
from abstraction_fakes import item_error
from engine_bench import choosing
from feedback_bench import OUTPUTS, FeedbackBench, by_query

from clipper.abstraction.ejection import FIRST_EJECTION_S, LONGEST_EJECTION_S, MAX_FAILURES
from clipper.engine.failing import FailingArms

HALVES = {"name": "ab", "options": {"shares": {"a": 50, "b": 50}}}
BAD, GOOD = 0.1, 0.9
"""Where a draw falls between two models of equal shares."""


class Traffic:
    """Queries to a bench, one after the other, each with an input of its own."""

    def __init__(self, bench, chance=None):
        self.bench = bench
        self.asked = 0
        if chance is not None:
            bench.selection.chance = chance

    def send(self, chance=BAD, *, advance_s=0.002, **fields):
        self.bench.chance = chance
        self.asked += 1
        asked = self.bench.ask(b"%d" % self.asked, **fields)
        self.bench.timers.advance(advance_s)
        return asked

    def model(self, *args, **fields):
        (name,) = self.send(*args, **fields).answer.models
        return name.partition(":")[0]

    def break_it(self, times=MAX_FAILURES):
        return [self.model() for _ in range(times)]


@pytest.fixture
def raising():
    bench = choosing(HALVES, "ab")
    bench.answers("a", item_error("ValueError: no"))
    return Traffic(bench)


def test_a_model_that_raises_time_after_time_is_left_alone(raising):
    assert raising.break_it() == ["a"] * MAX_FAILURES
    asked = raising.send()
    assert asked.answer.models == ("b:1",)
    claims = raising.bench.claims(asked)
    assert (claims.eligible, claims.propensities) == (["b"], [1.0])
    assert raising.bench.metrics().selection.ejections == {"a:1": 1}


def test_explain_names_it(raising):
    raising.break_it()
    told = raising.send(explain=True).answer.explanation["ejected"]
    assert told.keys() == {"a"}
    assert told["a"]["failures"] == MAX_FAILURES
    assert 0 < told["a"]["asked_again_in_ms"] < FIRST_EJECTION_S * 1e3
    assert "ejected" not in Traffic(choosing(HALVES, "ab")).send(explain=True).answer.explanation


def test_an_output_in_between_forgives(raising):
    raising.break_it(MAX_FAILURES - 1)
    raising.bench.answers("a", b"1")
    raising.send()
    raising.bench.answers("a", item_error())
    assert raising.break_it() == ["a"] * MAX_FAILURES


def test_an_output_from_the_cache_does_not_forgive(raising):
    bench = raising.bench
    bench.answers("a", b"1")
    bench.ask(b"known")
    bench.timers.advance(0.01)
    bench.answers("a", item_error())
    for _ in range(MAX_FAILURES):
        raising.send()
        bench.chance = BAD
        bench.ask(b"known")
    bench.timers.advance(0.01)
    assert raising.model() == "b"


def test_one_query_is_the_probe_and_the_others_go_elsewhere_until_it_is_answered(raising):
    raising.break_it()
    raising.bench.link("a").run_s = lambda _size: 0.02
    raising.bench.timers.advance(FIRST_EJECTION_S)
    probe = raising.send()
    assert [raising.model() for _ in range(3)] == ["b"] * 3
    raising.bench.timers.advance(0.05)
    assert probe.answer.models == ("a:1",)
    assert raising.model() == "b"
    assert raising.bench.metrics().selection.ejections == {"a:1": 2}


def test_each_time_it_is_left_alone_for_longer_but_not_without_bound(raising):
    raising.break_it()
    gaps = []
    for _ in range(5):
        since_s = raising.bench.timers.now()
        while raising.model() == "b":
            raising.bench.timers.advance(0.02)
        gaps.append(raising.bench.timers.now() - since_s)
    assert gaps[0] == pytest.approx(FIRST_EJECTION_S, abs=0.05)
    assert gaps[1] > gaps[0]
    assert gaps[-1] == pytest.approx(LONGEST_EJECTION_S, abs=0.05)


def test_a_probe_that_is_answered_brings_it_back_for_good(raising):
    raising.break_it()
    raising.bench.answers("a", b"1")
    raising.bench.timers.advance(FIRST_EJECTION_S)
    assert [raising.model() for _ in range(10)] == ["a"] * 10
    assert raising.bench.claims(raising.send()).eligible == ["a", "b"]


def test_a_probe_that_is_cancelled_makes_room_for_another_one(raising):
    raising.break_it()
    raising.bench.timers.advance(FIRST_EJECTION_S)
    raising.bench.link("a").run_s = None
    probe = raising.send()
    raising.bench.engine.cancel(probe.ticket)
    assert raising.model() == "b"
    raising.bench.link("a").reply()
    raising.bench.answers("a", b"1")
    raising.bench.timers.advance(0.1)
    assert raising.model() == "a"
    raising.bench.assert_idle()


def test_what_was_asked_before_it_was_left_alone_does_not_keep_it_away_for_longer():
    bench = choosing(HALVES, "ab", run_s=lambda _size: 0.01)
    bench.answers("a", item_error())
    traffic = Traffic(bench)
    for _ in range(50):
        traffic.send(advance_s=0.0001)
    bench.timers.advance(0.05)
    assert bench.metrics().selection.ejections == {"a:1": 1}
    bench.timers.advance(FIRST_EJECTION_S)
    assert traffic.model(advance_s=0.02) == "a"


def test_the_last_one_is_never_left_alone(raising):
    raising.bench.answers("b", item_error())
    raising.break_it()
    assert {raising.model() for _ in range(50)} == {"b"}
    raising.bench.timers.advance(FIRST_EJECTION_S)
    assert raising.model() == "a"
    assert raising.model() == "b"


def test_while_no_other_model_is_ready_even_one_that_fails_is_asked(raising):
    raising.break_it()
    raising.bench.link("b").lose()
    assert raising.model() == "a"
    raising.bench.link("b").connect()
    assert raising.model() == "b"


def test_a_model_without_an_answer_in_time_is_left_alone():
    bench = choosing(HALVES, "ab")
    bench.answers("a", None)
    traffic = Traffic(bench)
    for _ in range(MAX_FAILURES):
        assert traffic.send(advance_s=0.11).answer.error.code == "deadline_exceeded"
    assert traffic.model() == "b"


def test_callers_in_a_hurry_cannot_bring_a_model_down():
    bench = choosing(HALVES, "ab")
    bench.answers("a", None)
    traffic = Traffic(bench)
    for _ in range(3 * MAX_FAILURES):
        assert traffic.send(advance_s=0.02, timeout_ms=5).answer.models == ("a:1",)
    assert bench.metrics().selection.ejections == {}


def test_a_new_version_begins_anew(raising):
    raising.break_it()
    raising.bench.version("a", "2")
    raising.bench.apply()
    raising.bench.link("a", "2").answer = lambda _row: b"1"
    assert raising.send().answer.models == ("a:2",)


def test_under_fixed_shares_only_the_users_of_the_failing_model_move():
    bench = choosing({"name": "ab", "options": {"shares": {"a": 1, "b": 1, "c": 1}}})
    traffic = Traffic(bench)
    users = [f"user-{i}" for i in range(200)]
    before = {uid: traffic.model(uid=uid) for uid in users}
    bench.answers("a", item_error())
    theirs = [uid for uid in users if before[uid] == "a"]
    for uid in theirs[:MAX_FAILURES]:
        traffic.send(uid=uid)
    meanwhile = {uid: traffic.model(uid=uid) for uid in users if before[uid] != "a"}
    assert meanwhile == {uid: model for uid, model in before.items() if model != "a"}
    bench.answers("a", b"1")
    assert {traffic.model(uid=uid) for uid in theirs} == {"b", "c"}
    bench.timers.advance(FIRST_EJECTION_S)
    assert {uid: traffic.model(uid=uid) for uid in users} == before


def test_a_record_of_failures_ends_with_the_version():
    arms = FailingArms()
    for _ in range(MAX_FAILURES):
        arms.failure("a", "one", object(), 0.0, available=("a", "b"))
    assert arms.ejected
    arms.retain({"a": "one", "b": "other"})
    assert arms.ejected
    arms.retain({"a": "another", "b": "other"})
    assert not arms.records


@pytest.mark.parametrize("default", [{"default_output": -1}, {}])
def test_exp3_over_a_good_and_a_raising_model_answers_by_the_good_one_and_takes_the_healed_one_back(default):
    bench = choosing("exp3", "ab", **default)
    bench.answers("a", item_error("ValueError: no"))
    traffic = Traffic(bench, random.Random(1).random)
    answered = [traffic.send(advance_s=0.01).answer for _ in range(1000)]
    good = [answer.models == ("b:1",) and answer.error is None for answer in answered]
    assert sum(good[36:]) >= 0.95 * len(good[36:])
    bench.answers("a", b"1")
    bench.timers.advance(LONGEST_EJECTION_S)
    healed = [traffic.model(advance_s=0.01) for _ in range(400)]
    assert healed.count("a") >= 0.3 * len(healed)
    bench.assert_idle()


@pytest.mark.parametrize("output", [item_error("ValueError: no"), None])
async def test_feedback_on_a_default_in_place_of_a_failed_model_counts_against_the_model(output):
    bench = FeedbackBench(default_output=3)
    for model in OUTPUTS:
        bench.bench.answers(model, output)
    answer = bench.ask()
    assert answer.default
    assert await bench.give(by_query(answer, 3)) == [None]
    (record,) = bench.records
    assert (record.outputs, record.losses, record.default) == ((None,), (1.0,), True)
    assert (record.answer, record.answer_loss) == (3, 0.0)
    assert record.change[record.arms[0]]["loss"] == 1.0
    assert set(record.change) == set(OUTPUTS)


async def test_a_large_output_that_is_lost_is_not_a_failure():
    bench = FeedbackBench(outputs={"a": [0.5] * 1000, "b": [0.5] * 1000})
    answer = bench.ask()
    bench.bench.selection.outputs.forget(bench.bench.selection.token_key.open("app", answer.query_id).nonce)
    assert await bench.give(by_query(answer, 0)) == [None]
    (record,) = bench.records
    assert (record.outputs, record.losses) == ((None,), (None,))


def test_a_query_that_was_refused_says_nothing_of_the_model():
    bench = choosing(HALVES, "ab", run_s=lambda _size: 0.06, default_output=-1)
    traffic = Traffic(bench)
    for _ in range(5):
        traffic.send(advance_s=0.2)
    several = [traffic.send(advance_s=0.0) for _ in range(60)]
    bench.timers.advance(0.5)
    refused = [asked for asked in several if asked.answer.error and asked.answer.error.code == "overloaded"]
    assert len(refused) > MAX_FAILURES
    assert bench.claims(refused[0]).outputs == [None]
    assert bench.metrics().selection.ejections == {}
