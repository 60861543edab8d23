"""A real Docker engine, servers that use it, and a look for what they left on it after every test."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from docker_harness import DockerServer, engine_or_reason


def pytest_collection_modifyitems(items):
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in here:
        item.add_marker(pytest.mark.docker)
        item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def engine():
    """The SDK's client. Without an engine these tests are skipped, in CI they fail."""
    client, reason = engine_or_reason()
    if client is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    yield client
    client.close()


@pytest.fixture
def up(engine, tmp_path):
    """Start servers, each on a data directory by its name. Afterwards nothing of them is left on the engine."""
    started = []

    def start(name="data", **environment):
        server = DockerServer(engine, tmp_path / name, **environment)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
    left = [thing for server in started for thing in server.things()]
    for server in started:
        server.clear_away()
    assert left == []


@pytest.fixture
def restart_engine():
    """Stops and starts the engine, if it is the tests' own."""
    script = os.environ.get("CLIPPER_TEST_ENGINE")
    if script is None:
        pytest.skip("the engine is not the tests' own (.ci/engine): it is not restarted")

    def restart():
        subprocess.run([script, "restart"], check=True, capture_output=True)

    return restart
