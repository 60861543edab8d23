"""Whether a canary is promoted or rolled back, in simulated time."""

import random
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipper.control.rollout import Tally, certainly_more, judge, tally_of
from clipper.deployment import Canary
from clipper.metrics import LATENCY_BOUNDS_S, VersionMetrics

CANARY = Canary.model_validate({"share": 0.05, "duration_s": 60, "min_queries": 200})


def tally(queries=0, errors=0, latencies_s=(), losses=(), late=0):
    counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
    for latency_s in latencies_s:
        counts[bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1
    return Tally(queries, errors, late, tuple(counts), sum(losses), len(losses))


class Trial:
    """Two versions with the failures, times and losses that a draw gives them; judged once a second."""

    def __init__(self, seed, *, new, old, rate=200, share=0.05):
        self.draw, self.profiles, self.rate, self.share = random.Random(seed), (new, old), rate, share
        self.sums = [[0, 0, [], []], [0, 0, [], []]]

    def second(self):
        for _ in range(self.rate):
            which = 0 if self.draw.random() < self.share else 1
            profile, sums = self.profiles[which], self.sums[which]
            sums[0] += 1
            failed = self.draw.random() < profile.get("errors", 0.0)
            sums[1] += failed
            if not failed:
                sums[2].append(self.draw.expovariate(1 / profile.get("mean_s", 0.01)))
            if "loss" in profile:
                sums[3].append(float(self.draw.random() < profile["loss"]))

    def run(self, canary=CANARY, seconds=120):
        for second in range(1, seconds + 1):
            self.second()
            verdict = judge(canary, tally(*self.sums[0]), tally(*self.sums[1]), float(second))
            if verdict.decision != "wait":
                return verdict, second
        return verdict, seconds


def test_a_canary_like_the_current_version_is_promoted_when_its_time_is_over():
    verdict, second = Trial(1, new={"errors": 0.01}, old={"errors": 0.01}).run()
    assert (verdict.decision, second) == ("promote", 60)
    assert verdict.reason.startswith("not worse in 60 s: ")


def test_a_canary_without_enough_queries_waits_on():
    verdict, second = Trial(1, new={}, old={}, rate=20).run()
    assert (verdict.decision, second) == ("wait", 120)
    assert "it is promoted after 200 at the earliest" in verdict.reason


def test_a_canary_that_always_fails_is_gone_after_a_few_queries():
    verdict, second = Trial(1, new={"errors": 1.0}, old={}).run()
    assert (verdict.decision, second) == ("roll back", 1)
    assert "100.00% of its" in verdict.reason


def test_one_error_is_not_proof():
    assert judge(CANARY, tally(1, 1), tally(20), 1.0).decision == "wait"
    assert judge(CANARY, tally(20, 1), tally(400), 1.0).decision == "wait"
    assert judge(CANARY, tally(2, 2), tally(40), 1.0).decision == "wait"
    assert judge(CANARY, tally(4, 4), tally(80), 1.0).decision == "roll back"


def test_a_canary_that_fails_a_little_more_is_found_before_it_is_promoted():
    verdict, second = Trial(3, new={"errors": 0.06}, old={"errors": 0.01}).run()
    assert verdict.decision == "roll back"
    assert second < 60


def test_a_canary_that_is_much_slower_is_rolled_back():
    verdict, _ = Trial(1, new={"mean_s": 0.05}, old={"mean_s": 0.01}).run()
    assert verdict.decision == "roll back"
    assert "answers took longer than" in verdict.reason


def test_answers_that_came_too_late_are_slow_whatever_a_p99_is():
    verdict = judge(CANARY, tally(20, late=10), tally(100, latencies_s=[0.01] * 100), 10.0)
    assert (verdict.decision, verdict.slow) == ("roll back", 10)
    assert verdict.reason == "100.00% of its 10 answers came too late, against 0.00%"


def test_a_canary_whose_answers_are_wrong_is_rolled_back_where_feedback_says_so():
    verdict, _ = Trial(1, new={"loss": 0.4}, old={"loss": 0.1}).run()
    assert verdict.decision == "roll back"
    assert "its mean loss is" in verdict.reason


def test_a_better_canary_is_promoted():
    verdict, _ = Trial(1, new={"errors": 0.0, "mean_s": 0.005, "loss": 0.0}, old={"errors": 0.05, "loss": 0.2}).run()
    assert verdict.decision == "promote"


def test_looking_every_second_finds_no_difference_where_there_is_none():
    """Of 200 equal versions two may be rolled back, looked at 60 times each; rare errors are hardest."""
    equal = {"errors": 0.005, "loss": 0.2}
    strict = CANARY.model_copy(update={"tolerance": 0.0})
    decisions = [Trial(seed, new=equal, old=equal, rate=60).run(strict, 60)[0].decision for seed in range(200)]
    assert decisions.count("roll back") <= 2


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
@settings(max_examples=200)
def test_what_is_not_more_is_never_certainly_more(new_errors, new_count, old_errors, old_count):
    new_errors, old_errors = min(new_errors, new_count), min(old_errors, old_count)
    certain = certainly_more(new_errors, new_count, old_errors, old_count, tolerance=0.0, confidence=0.99)
    if certain:
        assert new_errors / new_count > old_errors / old_count
    assert not (certain and certainly_more(old_errors, old_count, new_errors, new_count, tolerance=0, confidence=0.99))


def test_differences_within_the_tolerance_are_none():
    counts = (1100, 100_000, 1000, 1_900_000)
    assert certainly_more(*counts, tolerance=0.005, confidence=0.99)
    assert not certainly_more(*counts, tolerance=0.02, confidence=0.99)


def test_only_what_came_since_counts():
    earlier = tally(100, 50, [0.01] * 50, [1.0] * 10)
    later = tally(300, 51, [0.01] * 249, [1.0] * 10 + [0.0] * 10)
    assert later.since(earlier) == tally(200, 1, [0.01] * 199, [0.0] * 10)
    assert earlier.since(later) == earlier, "counters that began anew"


def test_answers_out_of_the_cache_say_nothing_about_a_version():
    metrics = VersionMetrics()
    metrics.cache_hits, metrics.cache_misses, metrics.cache_coalesced, metrics.uncached = 1000, 5, 3, 2
    metrics.failures["model_error"] += 4
    metrics.failures["deadline_exceeded"] += 2
    metrics.refused = 1
    metrics.answer_s.observe(0.01)
    found = tally_of(metrics)
    assert (found.queries, found.errors, found.late, sum(found.latency_counts)) == (10, 4, 3, 1)
    assert tally_of(None) == Tally()


@pytest.mark.parametrize("word", ["5%", 0.05, {"share": 0.05}])
def test_a_share_is_written_as_one_likes(word):
    assert Canary.model_validate(word) == Canary(share=0.05)
