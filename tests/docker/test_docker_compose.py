"""``docker compose up`` from the project's root: it starts, and answers a query."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from server_process import until

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "clipper-test"
START_S = 180.0
"""The server's image and the first model's are built."""


@pytest.fixture
def compose(engine):
    """Runs docker-compose on the project's file; in a place without a registry, with what .ci/engine has made."""
    program = shutil.which("docker-compose")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no docker-compose")
    files = ["-f", "docker-compose.yml"]
    if "CLIPPER_DOCKER_WHEELS" in os.environ:
        files += ["-f", "tests/docker/compose.offline.yml"]
    any_port = {"CLIPPER_QUERY_PORT": "", "CLIPPER_ADMIN_PORT": "", "COMPOSE_PROJECT_NAME": PROJECT}

    def run(*arguments):
        done = subprocess.run(
            [program, *files, *arguments],
            cwd=ROOT,
            env=os.environ | any_port,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    run("down", "--volumes", "--timeout", "20")
    left = [c.name for c in engine.containers.list(all=True, ignore_removed=True) if PROJECT in c.name]
    assert left == []


@pytest.mark.timeout(400)
def test_it_starts_deploys_the_demo_and_answers_from_containers_of_its_own(compose, engine):
    compose("up", "--detach", "--build")
    query = f"http://{compose('port', 'clipper', '1337').strip()}"
    until(lambda: re.search(r"1 \+ 1 = 2\.0", compose("logs", "demo")), "the demo is answered", timeout_s=START_S)
    reply = httpx.post(f"{query}/demo/predict", json={"input": [20, 22]}).json()
    assert (reply["output"], reply["default"]) == (42.0, False)
    names = {family.name for family in text_string_to_metric_families(httpx.get(f"{query}/metrics").text)}
    assert "clipper_queries" in names
    replicas = engine.containers.list(filters={"label": ["clipper.model=total"]})
    assert len(replicas) == 2
    for replica in replicas:
        assert list(replica.attrs["NetworkSettings"]["Networks"]) == [f"{PROJECT}-models"]
    assert engine.networks.get(f"{PROJECT}-models").attrs["Internal"] is True
    compose("exec", "-T", "redis", "redis-cli", "ping")
