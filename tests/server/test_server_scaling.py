"""A version scales by itself, for real: replicas are processes, and no answer is lost while they come and go."""

import sys

import cloudpickle
import pytest
from server_process import Callers, until

from clipper.errors import BadRequest

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def sums_slowly(batch):
    import time  # noqa: PLC0415  # travels with the function

    time.sleep(0.05 * len(batch))  # so long that the callers, which share the processor, keep three of it busy
    return batch.sum(axis=1)


def replicas(cl, name):
    return cl.get_model_info(name, 1)["replicas"]


def test_a_version_in_a_range_scales_up_under_load_and_down_without_a_lost_answer(cl):
    cl.deploy_model("slow", 1, sums_slowly, input_type="doubles", num_replicas="1-3", caching={"enabled": False})
    cl.register_application("scaled", input_type="doubles", slo_ms=20_000, models=["slow"])
    assert replicas(cl, "slow")["bounds"] == {"min": 1, "max": 3}
    with Callers(cl.session.query_url, "scaled", count=8) as callers:
        until(lambda: replicas(cl, "slow")["ready"] == 3, "three replicas")
        why = replicas(cl, "slow")["why"]
        assert " queries/s, " in why
        assert "/s a replica" in why
        callers.go_on()
        cl.set_num_replicas("slow", {"min": 1, "max": 1})
        until(lambda: len([r for r in cl.get_all_model_replicas() if r["model"] == "slow"]) == 1, "one replica")
        callers.go_on(20)
    assert set(callers.outcomes()) == {(200, None)}
    assert not callers.unanswered
    assert all(body["output"] == x for x, _, body in callers.answers)


def test_bounds_that_make_no_sense_are_refused_with_a_sentence(cl):
    cl.deploy_model("steady", 1, None, input_type="doubles", flavor="noop")
    with pytest.raises(BadRequest, match=r"'min' \(5\) must not be more than 'max' \(2\)"):
        cl.set_num_replicas("steady", "5-2")
    with pytest.raises(BadRequest, match=r"a range to scale in \(1-8\); 'many' came"):
        cl.set_num_replicas("steady", "many")
    with pytest.raises(BadRequest, match=r"'replicas.max' .* less than or equal to 256; 500 came"):
        cl.set_num_replicas("steady", {"min": 1, "max": 500})
