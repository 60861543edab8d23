"""A container that somebody else runs: registered by its address, dialled, watched, never started nor ended."""

import json
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest
from server_process import until

from clipper.errors import BadRequest, ClipperError, DeploymentFailed

SECRET = "a secret that both ends know"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def container(listen, *options, model="elsewhere", version="1"):
    """What somebody else runs: the container runtime by itself, with the no-op model."""
    process = subprocess.Popen(
        [sys.executable, "-m", "clipper_container", "--listen", listen, "--flavor", "noop", "--input-type", "doubles",
         "--model", model, "--version", version, "--replica", "gpu-7", *options],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def secret_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return file


def state(cl, version="1"):
    info = cl.get_model_info("elsewhere", version)
    return info["state"], info["reason"]


def predicts(cl, number):
    reply = httpx.post(f"{cl.session.query_url}/far/predict", json={"input": [number]})
    return reply.status_code == 200


@pytest.fixture
def model(cl):
    yield
    if "far" in cl.get_all_apps():
        cl.unregister_application("far")
    if "elsewhere" in cl.get_all_models():
        cl.delete_model("elsewhere")


@pytest.mark.usefixtures("model")
def test_it_serves_says_when_it_is_gone_and_serves_again(cl, secret_file):
    address = f"tcp:127.0.0.1:{free_port()}"
    with container(address, "--secret-file", str(secret_file)):
        info = cl.register_model("elsewhere", 1, address, secret=SECRET)
        cl.register_application("far", input_type="doubles", slo_ms=500, models=["elsewhere"])
        assert (info["state"], info["current"], info["address"]) == ("ready", True, address)
        assert predicts(cl, 1.0)
    until(lambda: state(cl)[0] == "failed", "the failure")
    assert f"cannot connect to {address}" in state(cl)[1]
    with container(address, "--secret-file", str(secret_file)):
        until(lambda: state(cl)[0] == "ready", "its return")
        until(lambda: predicts(cl, 2.0), "an answer")


@pytest.mark.usefixtures("model")
def test_it_survives_that_it_is_stopped_and_promoted_again(cl, tmp_path):
    address = f"unix:{tmp_path}/replica.sock"
    with container(address) as process:
        cl.register_model("elsewhere", 1, address)
        cl.stop_versioned_models({"elsewhere": [1]})
        until(lambda: state(cl)[0] == "stopped", "the end")
        assert process.poll() is None
        cl.set_model_version("elsewhere", 1)
        until(lambda: state(cl)[0] == "ready", "its return")


@pytest.mark.usefixtures("model")
def test_the_secret_is_shown_nowhere(cl, tmp_path):
    address = f"unix:{tmp_path}/replica.sock"
    cl.register_model("elsewhere", 1, address, secret=SECRET, wait=False)
    shown = json.dumps([cl.get_status(), cl.get_model_info("elsewhere"), cl.get_all_model_replicas()])
    assert address in shown
    assert SECRET not in shown
    with pytest.raises(BadRequest) as refusal:
        cl.register_model("elsewhere", 2, address, secret="too short")
    assert "too short" not in refusal.value.message


@pytest.mark.usefixtures("model")
def test_another_secret_is_the_reason(cl, secret_file):
    address = f"tcp:127.0.0.1:{free_port()}"
    with (
        container(address, "--secret-file", str(secret_file)),
        pytest.raises(DeploymentFailed, match="secret"),
    ):
        cl.register_model("elsewhere", 1, address, secret="not the secret of that one")


@pytest.mark.usefixtures("model")
def test_a_container_of_another_model_gets_no_queries(cl, tmp_path):
    address = f"unix:{tmp_path}/replica.sock"
    with (
        container(address, model="other"),
        pytest.raises(DeploymentFailed, match=r"serves \('other', '1', 'doubles'\)"),
    ):
        cl.register_model("elsewhere", 1, address)


@pytest.mark.usefixtures("model")
def test_it_cannot_be_scaled(cl, tmp_path):
    address = f"unix:{tmp_path}/replica.sock"
    cl.register_model("elsewhere", 1, address, wait=False)
    with pytest.raises(BadRequest, match=f"the one container at {address}.* cannot be scaled"):
        cl.set_num_replicas("elsewhere", 2)
    with pytest.raises(ClipperError, match="An address is 'unix:/absolute/path' or 'tcp:host:port', not 'nowhere'"):
        cl.register_model("elsewhere", 2, "nowhere")
