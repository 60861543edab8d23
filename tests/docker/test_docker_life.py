"""A model's life in containers, under load: nothing is lost, nothing is wrong."""

import sys

import cloudpickle
import numpy as np
import pytest
from server_process import Callers, until
from sklearn.linear_model import LogisticRegression

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def doubled(batch):
    return 2 * batch[:, 0]


def tripled(batch):
    return 3 * batch[:, 0]


def test_deploy_scale_new_version_roll_back_and_stop_under_load_lose_nothing_and_answer_nothing_wrong(up):
    server = up()
    cl = server.cl
    cl.deploy_model("model", 1, doubled, input_type="doubles")
    cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    factors = {2.0}
    with Callers(server.query, "app", count=4) as callers:
        callers.go_on()
        for count in (4, 2):
            cl.set_num_replicas("model", count)
            assert set(server.until_ready(count)) == {f"model.1.g1.r{number}" for number in range(count)}
            callers.go_on()
        cl.deploy_model("model", 2, tripled, input_type="doubles")
        factors.add(3.0)
        callers.go_on()
        cl.set_model_version("model", 1)
        until(lambda: cl.get_current_model_version("model") == "1", "the traffic is back at version 1")
        callers.go_on()
    lasting = len(callers.answers)
    cl.stop_versioned_models({"model": [2]})
    until(lambda: server.version(2)["state"] == "stopped", "version 2 is stopped")
    with Callers(server.query, "app", count=4) as callers_after:
        callers_after.go_on()
    assert {output / x for x, _, output in answered(callers) if x} <= factors
    assert {output / x for x, _, output in answered(callers_after) if x} == {2.0}
    for each in (callers, callers_after):
        assert each.outcomes().keys() == {(200, None)}
        assert each.unanswered == {}
    assert lasting >= 400


def answered(callers):
    return [(x, status, body["output"]) for x, status, body in callers.answers]


def test_a_scikit_learn_model_answers_in_a_container_as_it_does_here(up):
    server = up()
    rows = np.random.default_rng(0).random((40, 4))
    model = LogisticRegression().fit(rows, (rows[:, 0] > 0.5).astype(int))
    server.cl.deploy_model("model", 1, model, method="predict_proba", example_input=list(rows[0]))
    server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    answers = server.cl.predict_batch("app", [list(row) for row in rows])
    np.testing.assert_allclose([answer.output for answer in answers], model.predict_proba(rows), rtol=1e-12)


def test_what_a_model_prints_is_in_its_replicas_logs_also_after_the_container_is_gone(up):
    def talkative(batch):
        print("asked for", len(batch), "rows")  # noqa: T201  # what this is about
        return [0 for _ in batch]

    server = up()
    server.cl.deploy_model("model", 1, talkative, input_type="doubles")
    server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    server.cl.predict("app", [1.0])
    (replica_id,) = server.replicas("model")
    assert "asked for 1 rows" in server.cl.get_logs(replica_id)
    container = server.container(replica_id)
    container.kill()
    server.until_back(replica_id, container.id)
    assert "asked for 1 rows" in server.cl.get_logs(replica_id)


def test_a_replica_is_limited_and_labelled_as_its_version_says(up):
    server = up()
    limits = {"threads": 1, "memory_mb": 256, "cpus": 1.5}
    server.cl.deploy_model("model", 1, doubled, input_type="doubles", limits=limits)
    container = server.container("model.1.g1.r0")
    host = container.attrs["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (256 << 20, 256 << 20, 1_500_000_000)
    assert (
        container.labels.items()
        >= {
            "clipper.installation": server.installation_id,
            "clipper.model": "model",
            "clipper.version": "1",
            "clipper.generation": "1",
            "clipper.replica": "model.1.g1.r0",
        }.items()
    )
    assert "Healthcheck" in container.attrs["Config"]


def test_a_gpu_that_the_engine_does_not_have_is_said(up, engine):
    if "nvidia" in engine.info()["Runtimes"]:
        pytest.skip("this engine has GPUs")
    server = up()
    server.cl.deploy_model("model", 1, doubled, input_type="doubles", limits={"gpus": 1}, wait=False)
    until(lambda: server.version()["state"] == "failed", "it is said that there is no GPU")
    assert "could not select device driver" in server.version()["reason"]


def test_a_server_that_was_killed_finds_its_containers_again_and_only_those(up):
    first = up()
    first.cl.deploy_model("model", 1, doubled, input_type="doubles", num_replicas=2)
    first.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    first.until_ready(2)
    before = {replica_id: container.id for replica_id, container in first.containers().items()}
    first.kill()
    first.container("model.1.g1.r1").kill()
    second = up()
    second.until_ready(2)
    after = {replica_id: container.id for replica_id, container in second.containers().items()}
    assert after["model.1.g1.r0"] == before["model.1.g1.r0"]
    assert after["model.1.g1.r1"] != before["model.1.g1.r1"]
    assert second.cl.predict("app", [21.0]).output == 42


def test_every_one_of_several_frontends_reaches_the_replicas(up):
    server = up(CLIPPER_FRONTENDS="3")
    server.cl.deploy_model("model", 1, doubled, input_type="doubles")
    server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    with Callers(server.query, "app", count=12) as callers:
        callers.go_on(300)
    assert callers.outcomes().keys() == {(200, None)}
    assert {output / x for x, _, output in answered(callers) if x} == {2.0}
