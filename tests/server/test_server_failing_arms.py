"""A model that raises on every query does not keep its traffic until somebody gives feedback: real containers, HTTP."""

import sys
import time
from collections import Counter

import cloudpickle
import httpx

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

WAIT_S = 20.0


def sums(batch):
    return batch.sum(axis=1)


def raises_while(flag):
    def predict(batch):
        import os  # noqa: PLC0415  # travels with the function

        if os.path.exists(flag):  # noqa: PTH110  # as above
            raise ValueError("broken")
        return batch.sum(axis=1)

    return predict


def answered_by(cl, numbers):
    """How many of these queries each model answered; those that came to an error count for None."""
    url = f"{cl.session.query_url}/choice/predict"
    with httpx.Client(timeout=30) as client:
        replies = [client.post(url, json={"input": [float(i)]}) for i in numbers]
    return Counter(reply.json()["models"][0] if reply.status_code == 200 else None for reply in replies)


def test_exp3_leaves_a_model_that_raises_and_takes_it_back_when_it_is_well(cl, tmp_path):
    flag = tmp_path / "broken"
    flag.touch()
    cl.deploy_model("steady", 1, sums, input_type="doubles")
    cl.deploy_model("shaky", 1, raises_while(str(flag)), input_type="doubles")
    cl.register_application("choice", input_type="doubles", slo_ms=2000, policy="exp3", models=["steady", "shaky"])
    answered_by(cl, range(36))
    assert answered_by(cl, range(36, 336))["steady:1"] >= 0.95 * 300
    flag.unlink()
    deadline_s, number = time.monotonic() + WAIT_S, 1000
    while not answered_by(cl, range(number, number + 50))["shaky:1"] >= 10:
        number += 50
        assert time.monotonic() < deadline_s
    assert answered_by(cl, range(100_000, 100_200))[None] == 0
