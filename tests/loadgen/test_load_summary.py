"""The figures of a run, from what its processes say."""

import json

import pytest

from clipper.errors import InvalidRequest
from clipper.loadgen import Plan, Summary
from clipper.loadgen.tally import Tally


def plan(**changes):
    fields = {"duration_s": 2.0, "rate_qps": 100.0, "connections": 8, "timeout_s": 5.0, "slo_s": 0.02, "seed": 0}
    return Plan(**(fields | changes))


def summary_of(*seconds, cpu_s=0.1, **changes):
    """Of one process; a second is ``(outcomes, delay of each query, waits)``."""
    the_plan = plan(**changes)
    summary, tally = Summary(the_plan), Tally(0, the_plan.slo_s)
    for number, (outcomes, delay_s, waits_s) in enumerate(seconds, start=1):
        for outcome, latency_s in outcomes:
            tally.due(delay_s)
            tally.done(outcome, latency_s)
        for wait_s in waits_s:
            tally.waited(wait_s)
        summary.add(tally.take(float(number), cpu_s * number, connections=4))
    return summary


ON_TIME = [("answered", 0.01)] * 50


def test_goodput_is_what_models_answered_in_time():
    mixed = [("answered", 0.03), ("default:overloaded", 0.01), ("error:overloaded", 0.01), ("lost:timeout", 5.0)]
    summary = summary_of((ON_TIME, 0.0, []), (mixed, 0.0, []))
    assert summary.goodput_qps == 25
    assert summary.to_json()["on_time_share"] == pytest.approx(50 / 54)
    assert [second.due for second in summary.seconds()] == [50, 4]
    assert [second.on_time for second in summary.seconds()] == [50, 0]
    assert summary.answers().count == 52


def test_a_generator_on_time_is_not_the_limit():
    assert summary_of((ON_TIME, 0.001, [])).limit() is None


def test_a_late_generator_says_so_and_whether_it_was_short_of_processor_time():
    late = (ON_TIME, 0.01, [])
    assert "50.0% of the queries left more than 2 ms" in summary_of((ON_TIME, 0.0, []), late).limit()
    assert "give the generator one of its own" in summary_of(late, late).limit()
    assert "take more --processes" in summary_of(late, late, cpu_s=0.99).limit()


def test_too_few_connections_are_said_beside_lateness():
    limit = summary_of((ON_TIME, 0.01, [0.1] * 10)).limit()
    assert "left more than 2 ms" in limit
    assert "20.0% of the queries waited for one of the 8 connections" in limit


def test_a_closed_loop_that_needs_all_of_its_core_may_be_the_limit():
    seconds = [(ON_TIME, 0.0, [])] * 2
    assert summary_of(*seconds, rate_qps=None, cpu_s=0.5).limit() is None
    assert "97% of a core" in summary_of(*seconds, rate_qps=None, cpu_s=0.97).limit()


def test_before_anything_was_measured_there_are_figures_all_the_same():
    figures = Summary(plan()).to_json()
    assert figures["asked"] == 0
    assert figures["on_time_share"] is None
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rate_qps": 0.0}, "The rate must be more than 0"),
        ({"duration_s": -1.0}, "The duration must be more than 0"),
        ({"timeout_s": float("nan")}, "The timeout must be more than 0"),
        ({"processes": 9}, "9 processes, 8 connections"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(changes, sentence):
    with pytest.raises(InvalidRequest, match=sentence):
        plan(**changes)


def test_processes_share_the_connections_evenly():
    shares = [plan(processes=3).connections_of(process) for process in range(3)]
    assert shares == [3, 3, 2]
