"""Canaries and rollbacks for real: containers are processes, callers never stop asking."""

import sys
from collections import Counter

import cloudpickle
import pytest
from server_process import Callers, until

from clipper.errors import Conflict

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SOON = {"share": 0.3, "duration_s": 1, "min_queries": 50, "max_latency_ratio": 100}
"""A machine that stalls is not to roll it back."""


def sums(batch):
    return batch.sum(axis=1)


def raises(batch):
    raise ValueError("broken")


def thousandfold(batch):
    return 1000 * batch.sum(axis=1)


@pytest.fixture
def asked(cl, request):
    name = request.node.name.split("[")[0].replace("_", "-")[-40:].strip("-")
    cl.deploy_model(name, 1, sums, input_type="doubles")
    cl.register_application(name, input_type="doubles", slo_ms=20_000, models=[name])
    with Callers(cl.session.query_url, name, count=4) as callers:
        yield name, callers
    cl.unregister_application(name)
    cl.delete_model(name)


def rollout(cl, name):
    return cl.get_model_info(name)["rollout"] or {}


def test_a_good_canary_is_promoted(cl, asked):
    name, callers = asked
    info = cl.deploy_model(name, 2, thousandfold, input_type="doubles", canary=SOON)
    assert (info["on_trial"], info["current"]) == (True, False)
    until(lambda: rollout(cl, name).get("state") == "promoted", "the promotion")
    until(lambda: cl.get_current_model_version(name) == "2", "the traffic")
    callers.go_on(50)
    last = callers.answers[-20:]
    assert all(body["output"] == 1000 * x for x, _, body in last)
    assert callers.outcomes() == Counter({(200, None): len(callers.answers)})


def test_a_bad_canary_is_rolled_back_and_few_saw_it(cl, asked):
    name, callers = asked
    cl.deploy_model(name, 2, raises, input_type="doubles", canary={"share": 0.05, "duration_s": 600})
    until(lambda: rollout(cl, name).get("state") == "rolled_back", "the rollback")
    assert "came to an error" in rollout(cl, name)["reason"]
    assert cl.get_current_model_version(name) == "1"
    until(lambda: cl.get_model_info(name, 2)["state"] == "stopped", "its end")
    assert "Rolled back" in cl.get_model_info(name, 2)["reason"]
    before = callers.outcomes()[500, "model_error"]
    callers.go_on(100)
    assert callers.outcomes()[500, "model_error"] == before
    assert before < 0.3 * len(callers.answers)


def test_rolling_back_returns_to_the_version_before_in_one_call(cl, asked):
    name, callers = asked
    with pytest.raises(Conflict, match="has no earlier version to return to"):
        cl.roll_back(name)
    cl.deploy_model(name, 2, thousandfold, input_type="doubles")
    assert cl.roll_back(name) == "1"
    until(lambda: cl.get_current_model_version(name) == "1", "version 1")
    cl.set_model_version(name, 2, canary={"share": 0.5, "duration_s": 600})
    until(lambda: rollout(cl, name).get("state") == "running", "the canary")
    assert cl.roll_back(name) == "1"
    until(lambda: rollout(cl, name)["state"] == "ended", "its end")
    callers.go_on(100)
    assert all(body["output"] == x for x, _, body in callers.answers[-20:])
    assert all(body["output"] in {x, 1000 * x} for x, _, body in callers.answers)
    assert set(callers.outcomes()) == {(200, None)}
    assert not callers.unanswered
