"""Two installations on one engine, an engine that is elsewhere, and one that is not there."""

import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import cloudpickle
import pytest
from docker_harness import engine_or_reason
from server_process import until

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def doubled(batch):
    return 2 * batch[:, 0]


def tripled(batch):
    return 3 * batch[:, 0]


def test_two_installations_on_one_engine_do_not_see_each_other(up):
    one, two = up("one"), up("two")
    for server, predict in ((one, doubled), (two, tripled)):
        server.cl.deploy_model("model", 1, predict, input_type="doubles")
        server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    assert one.containers()["model.1.g1.r0"].id != two.containers()["model.1.g1.r0"].id
    survivor = two.container("model.1.g1.r0").id
    one.signal(15)
    assert one.wait() == 0
    assert one.things() == []
    assert two.containers()["model.1.g1.r0"].id == survivor
    assert two.cl.predict("app", [1.0]).output == 3
    assert two.replicas("model")["model.1.g1.r0"]["restarts"] == 0


def test_what_an_installation_left_half_made_or_does_not_want_is_cleared_away_and_the_rest_is_not_touched(up, engine):
    server = up()
    server.cl.deploy_model("model", 1, doubled, input_type="doubles")
    image = server.container("model.1.g1.r0").image
    labels = {"clipper.installation": server.installation_id, "clipper.replica": "model.1.g1.r7"}
    engine.containers.create(image, ["--help"], labels=labels)
    foreign = engine.containers.create(image, ["--help"], labels=labels | {"clipper.installation": "somebody-elses"})
    try:
        until(lambda: set(server.containers()) == {"model.1.g1.r0"}, "the half-made one is gone")
        assert foreign.id in {container.id for container in engine.containers.list(all=True)}
    finally:
        foreign.remove()


class Forwarder:
    """The engine's unix socket on a TCP port, as a remote engine has it."""

    def __init__(self, path):
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = []
        self._threads = []
        self._run(self._accept)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for sock in self._open:
            sock.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                self._open += [near, far]
                far.connect(self._path)
                self._run(self._pump, near, far)
                self._run(self._pump, far, near)

    def _run(self, work, *arguments):
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def remote_engine(engine):
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    if not Path(path).exists():
        pytest.skip("the engine is remote already")
    forwarder = Forwarder(path)
    yield f"tcp://127.0.0.1:{forwarder.port}"
    forwarder.close()


def test_replicas_on_an_engine_elsewhere_are_reached_at_published_ports_of_its_host(remote_engine, up):
    server = up(DOCKER_HOST=remote_engine)
    server.cl.deploy_model("model", 1, doubled, input_type="doubles", num_replicas=2)
    server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    addresses = {replica["address"] for replica in server.until_ready(2).values()}
    assert len(addresses) == 2
    assert all(address.startswith("tcp:127.0.0.1:") for address in addresses)
    assert server.cl.predict("app", [4.0]).output == 8
    (network,) = server.engine.networks.list(filters={"label": f"clipper.installation={server.installation_id}"})
    assert network.attrs["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"


def test_an_engine_that_is_not_there_is_said_with_what_to_do(tmp_path):
    environment = os.environ | {"CLIPPER_MANAGER": "docker", "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    command = [sys.executable, "-m", "clipper", "up", "--data-dir", str(tmp_path / "data")]
    refused = subprocess.run(
        [*command, "--query-port", "0", "--admin-port", "0"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert refused.returncode != 0
    assert f"There is no Docker engine at unix://{tmp_path}/none.sock" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK's own socket
def test_without_an_engine_these_tests_know_why(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    client, reason = engine_or_reason()
    gc.collect()
    assert client is None
    assert reason.startswith("no Docker engine answers")
