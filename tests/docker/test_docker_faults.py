"""What goes wrong with containers is seen, said with their last words, and mended where it can be."""

import os
import signal
import socket
import sys
import textwrap
import time

import cloudpickle
import pytest
from server_process import Callers, until

from clipper import ClipperError, DeploymentFailed

SLOW_LOAD_S = float(os.environ.get("CLIPPER_SLOW_LOAD_S", "3"))
"""``make test-docker-long`` sets it to 60."""

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def silent_registry():
    """Takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def doubled(batch):
    return 2 * batch[:, 0]


def serve(server, *, replicas=1, predict=doubled, **deploy):
    server.cl.deploy_model("model", 1, predict, input_type="doubles", num_replicas=replicas, **deploy)
    server.until_ready(replicas)
    server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])


def assert_all_right(callers):
    assert callers.outcomes().keys() == {(200, None)}
    assert callers.unanswered == {}
    assert [(x, body) for x, _, body in callers.answers if body["output"] != 2 * x] == []


def test_a_killed_container_costs_nobody_an_answer_and_is_replaced(up):
    server = up()
    serve(server, replicas=2)
    with Callers(server.query, "app", count=4) as callers:
        callers.go_on()
        container = server.container("model.1.g1.r0")
        container.kill()
        back = server.until_back("model.1.g1.r0", container.id)
        callers.go_on()
    assert back["reason"].startswith("killed by signal 9")
    assert back["restarts"] == 1
    assert_all_right(callers)


def test_a_paused_container_is_not_waited_for_and_is_replaced(up):
    server = up()
    serve(server, replicas=2)
    with Callers(server.query, "app", count=4) as callers:
        callers.go_on()
        container = server.container("model.1.g1.r0")
        container.pause()
        back = server.until_back("model.1.g1.r0", container.id)
        callers.go_on()
    assert "was paused (docker pause)" in back["reason"]
    assert_all_right(callers)


def test_a_container_that_somebody_removed_is_replaced(up):
    server = up()
    serve(server)
    container = server.container("model.1.g1.r0")
    container.remove(force=True)
    back = server.until_back("model.1.g1.r0", container.id)
    assert "removed" in back["reason"] or back["reason"].startswith("killed by signal 9")
    assert server.cl.predict("app", [1.0]).output == 2


def test_a_restart_of_the_engine_is_survived(up, restart_engine):
    server = up()
    serve(server)
    container_id = server.container("model.1.g1.r0").id
    restart_engine()
    back = server.until_back("model.1.g1.r0", container_id)
    assert "Docker engine" in back["reason"]
    assert server.cl.predict("app", [1.0]).output == 2


def test_a_model_that_takes_too_much_memory_is_told_from_one_that_crashes(up):
    def hungry(batch):
        if batch[0, 0] == 13:
            print("now it gets tight")  # noqa: T201  # its last words
            list(range(100_000_000))
        return [0 for _ in batch]

    server = up()
    serve(server, predict=hungry, limits={"memory_mb": 128}, batching="none")
    container = server.container("model.1.g1.r0")
    with pytest.raises(ClipperError):
        server.cl.predict("app", [13.0])
    back = server.until_back("model.1.g1.r0", container.id)
    assert back["reason"] == "killed by the kernel: it used more memory than its container may (limits.memory_mb)"
    assert "now it gets tight" in back["last_words"]
    assert server.cl.predict("app", [1.0]).output == 0


def test_an_exception_for_one_item_is_no_crash_of_its_container(up):
    def picky(batch):
        if 13 in batch[:, 0]:
            raise ValueError("13 brings bad luck")
        return [0 for _ in batch]

    server = up()
    serve(server, predict=picky)
    container = server.container("model.1.g1.r0")
    answers = server.cl.predict_batch("app", [[1.0], [13.0], [2.0]])
    assert [answer.output for answer in answers] == [0, None, 0]
    assert "13 brings bad luck" in str(answers[1].error)
    container.reload()
    assert container.status == "running"
    assert server.replicas("model")["model.1.g1.r0"]["restarts"] == 0


def test_an_image_that_cannot_be_had_is_said_and_never_served(up):
    server = up(CLIPPER_DOCKER_IMAGE_PREFIX="127.0.0.1:1/nobody/")
    with pytest.raises(
        DeploymentFailed, match=r"127\.0\.0\.1:1/nobody/clipper-python:\S+ is neither on the Docker engine"
    ):
        server.cl.deploy_model("model", 1, doubled, input_type="doubles")
    assert server.version()["state"] == "failed"
    assert server.containers() == {}


def test_an_image_that_cannot_be_built_is_said_with_what_the_build_said_last(up, tmp_path):
    (tmp_path / "none").mkdir()
    server = up(CLIPPER_DOCKER_WHEELS=str(tmp_path / "none"))
    with pytest.raises(DeploymentFailed, match="No matching distribution found for numpy"):
        server.cl.deploy_model("model", 1, doubled, input_type="doubles")


def test_a_version_that_is_stopped_while_its_image_is_on_its_way_is_stopped_at_once_and_so_is_the_server(
    up, silent_registry
):
    server = up(CLIPPER_DOCKER_IMAGE_PREFIX=f"{silent_registry}/nobody/")
    server.cl.deploy_model("model", 1, doubled, input_type="doubles", wait=False)
    until(lambda: "pulling the image" in (server.version()["reason"] or ""), "it is said that the image is pulled")
    server.cl.stop_models(["model"])
    until(lambda: server.version()["state"] == "stopped", "it is stopped", timeout_s=5)
    asked_s = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - asked_s < 5


def test_a_model_that_does_not_load_is_failed_with_its_reason_and_its_last_words(up, tmp_path):
    path = tmp_path / "model.py"
    path.write_text(
        textwrap.dedent("""
            print("looking for the weights")
            raise RuntimeError("the weights are not here")
        """)
        + "def predict(batch): return [0 for _ in batch]\n"
    )
    server = up()
    server.cl.register_application("app", input_type="doubles", slo_ms=5000)
    with pytest.raises(DeploymentFailed, match="the weights are not here"):
        server.cl.deploy_model("model", 1, str(path), input_type="doubles")
    until(lambda: server.containers() == {}, "its container is cleared away")
    assert server.version()["state"] == "failed"
    assert "looking for the weights" in server.cl.get_logs(f"model.1.g{server.version()['generation']}.r0")
    server.cl.link_model_to_app("app", "model")
    with pytest.raises(ClipperError, match="no version that is ready"):
        server.cl.predict("app", [1.0])


def test_a_model_that_loads_for_long_is_not_served_before_it_is_ready(up, tmp_path):
    path = tmp_path / "model.py"
    path.write_text(f"import time\ntime.sleep({SLOW_LOAD_S})\ndef predict(batch): return [7 for _ in batch]\n")
    server = up()
    server.cl.register_application("app", input_type="doubles", slo_ms=5000)
    server.cl.deploy_model("model", 1, str(path), input_type="doubles", wait=False)
    server.cl.link_model_to_app("app", "model")
    until(server.containers, "its container runs")
    assert server.version()["state"] == "starting"
    with pytest.raises(ClipperError, match="no version that is ready"):
        server.cl.predict("app", [1.0])
    until(lambda: server.version()["state"] == "ready", "it is ready", timeout_s=SLOW_LOAD_S + 30)
    assert server.cl.predict("app", [1.0]).output == 7
