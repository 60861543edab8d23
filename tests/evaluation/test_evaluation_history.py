from collections import Counter
from itertools import pairwise

import pytest
from simulated_log import MODELS, Server, World, record

from clipper.errors import PolicyFailed
from clipper.evaluation import History, LogStatistics
from clipper.evaluation.history import MAX_POINTS
from clipper.selection import policy_named


def served(policy: str, feedbacks: int, uids=(None,), **options) -> Server:
    server = Server(World(5), policy_named(policy, options))
    server.run(feedbacks, uids)
    return server


def history_of(server: Server, uid: str | None = None) -> History:
    history = History(server.policy, MODELS, uid)
    for one in server.records:
        history.add(one)
    return history


def test_the_last_weights_are_those_that_the_server_has() -> None:
    server = served("exp3", 300)
    last = history_of(server).points[-1]
    assert last.weights == pytest.approx(server.policy.distribution(MODELS, server.shared.present()))
    assert last.feedbacks == 300


def test_a_users_weights_start_from_everybodys() -> None:
    server = served("exp3", 600, uids=("ann", "bob"))
    server.run(1, ("ann",))
    history = history_of(server, "ann")
    assert history.points[-1].feedbacks == sum(r.uid == "ann" for r in server.records)
    assert history.points[-1].weights == pytest.approx(server.policy.distribution(MODELS, server._state("ann")))


def test_a_long_log_is_thinned_evenly() -> None:
    points = history_of(served("majority", 4 * MAX_POINTS)).points
    assert MAX_POINTS / 2 - 1 <= len(points) < MAX_POINTS
    gaps = Counter(b.feedbacks - a.feedbacks for a, b in pairwise(points))
    assert len(gaps) == 1
    assert points[-1].feedbacks > 4 * MAX_POINTS - 16


def test_mean_losses_are_those_of_the_log() -> None:
    server = served("exp4", 200)
    last = history_of(server).points[-1]
    for index in range(len(MODELS)):
        assert last.losses[index] == pytest.approx(sum(r.losses[index] for r in server.records) / 200)
    assert last.answered == pytest.approx(sum(r.answer_loss for r in server.records) / 200)


def test_a_model_that_is_seldom_asked_counts_for_the_times_it_was_not() -> None:
    history = History(policy_named("exp3", {}), MODELS)
    history.add(record(0, propensities=(0.5,), losses=(1.0,)))
    history.add(record(1, propensities=(0.25,), losses=(0.0,)))
    assert history.points[-1].losses == (pytest.approx(2 / 6), None, None)


def test_a_policy_that_raises_is_a_sentence() -> None:
    class Broken(type(policy_named("exp3", {}))):
        def distribution(self, arms, state):
            raise ValueError("not today")

    with pytest.raises(PolicyFailed, match="not today"):
        History(Broken(), MODELS).add(record())


def test_statistics_count_what_is_there() -> None:
    statistics = LogStatistics("hour")
    agree = record(0, arms=MODELS, outputs=(3, 3, 3.0), losses=(0.0,) * 3, answer_loss=0.0, input_digest=b"a")
    differ = record(1, arms=MODELS, outputs=(1, 3, None), losses=(1.0, 0.0, None), answer_loss=1.0, input_digest=b"a")
    later = record(4000, propensities=(0.25,), answer_loss=0.0, uid="ann", default=True, policy="ucb1")
    known = record(4001, full_information=True, answer_loss=0.0)
    for one in (agree, differ, later, known):
        statistics.add(one)
    said = statistics.to_json()
    assert (said["feedbacks"], said["by_input"], said["with_uid"], said["defaults"]) == (4, 1, 1, 1)
    assert said["repeated_inputs"] == 1
    assert said["answers"]["count"] == 3
    assert said["policies"] == {"exp3": 3, "ucb1": 1}
    assert said["unanimous"] == {"count": 1, "loss": 0.0}
    assert said["divided"] == {"count": 1, "loss": 1.0}
    assert said["models"]["cedar:1"] | {"mean_inverse_propensity": None} == {
        "asked": 2,
        "missing": 1,
        "loss": 0.0,
        "least_propensity": 1.0,
        "mean_inverse_propensity": None,
    }
    assert said["models"]["ash:1"]["least_propensity"] == 0.25
    assert said["models"]["ash:1"]["mean_inverse_propensity"] == pytest.approx((1 + 1 + 4 + 1) / 4)
    assert [period["feedbacks"] for period in said["periods"]] == [2, 2]
    assert said["delay_s"]["p50"] == pytest.approx(2.0, rel=0.3)


def test_statistics_of_nothing_have_no_times() -> None:
    said = LogStatistics().to_json()
    assert (said["feedbacks"], said["first_at"], said["answers"]["loss"]) == (0, None, None)
