"""Models with requirements of their own below a real controller: served from their environment, or told why not."""

import pytest
from control_harness import ask, model_tar, ready_replicas, serving, status
from wheels import make_wheel

from clipper.control import desired as edits
from clipper.domain import VersionSpec

USES_IT = "import tinymodel\n\ndef predict(xs):\n    return [tinymodel.ANSWER + float(x.sum()) for x in xs]\n"


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))


@pytest.fixture
async def server(tmp_path, monkeypatch):
    monkeypatch.setattr("clipper.control.controller.TIDY_INTERVAL_S", 0.05)
    async with serving(tmp_path) as made:
        yield made


async def deploy(server, requirements, source=USES_IT, version="1", **spec):
    async def stream():
        yield model_tar(source, requirements=requirements)

    artifact = await server.artifacts.put(stream(), 1 << 20)
    spec = VersionSpec(**{"version": version, "input_type": "doubles", **spec})
    await server.store.change(
        lambda desired, revision: edits.create_version(
            desired, "svm", spec, generation=revision, digest=artifact.digest, manifest=artifact.manifest, now=1.0
        )
    )


async def test_every_replica_of_a_model_with_requirements_runs_in_one_environment(server, tmp_path):
    make_wheel(tmp_path / "wheels")
    reasons = set()
    await deploy(server, ["tinymodel>=1"], replicas=2)

    def ready(snapshot):
        if status(snapshot) is not None:
            reasons.add(status(snapshot).reason)
        return len(ready_replicas(snapshot)) == 2

    snapshot = await server.until(ready)
    assert [await ask(replica, 1) for replica in ready_replicas(snapshot)] == [43, 43]
    assert any("installing requirements" in reason for reason in reasons if reason)
    assert status(snapshot).reason is None
    links = [entry for entry in (tmp_path / "environments").iterdir() if entry.is_symlink()]
    assert len(links) == 1


async def test_requirements_that_cannot_be_installed_are_the_version_s_reason(server):
    await deploy(server, ["nowhere-at-all==9"])
    snapshot = await server.until(lambda s: status(s) is not None and status(s).state == "failed")
    reason = status(snapshot).reason
    assert "its requirements could not be installed (pip ended with code 1)" in reason
    assert "No matching distribution found for nowhere-at-all==9" in reason
    assert "\n" not in reason
    assert "nowhere-at-all" in server.controller.logs("svm.1.g1.r0")


SLOW_BUILD = """
import time

def build_wheel(*_, **__):
    open({gate!r}, "w").close()
    time.sleep(600)
"""


@pytest.fixture
async def installing(server, tmp_path):
    """A server in the middle of an installation that would take ten minutes."""
    project = tmp_path / "slow"
    project.mkdir()
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (project / "pyproject.toml").write_text(build)
    (project / "backend.py").write_text(SLOW_BUILD.format(gate=str(tmp_path / "reached")))
    await deploy(server, [f"slow @ file://{project}"])
    await server.until(lambda _: (tmp_path / "reached").exists())
    snapshot = await server.until(lambda s: status(s).reason is not None)
    assert status(snapshot).state == "starting"
    assert "installing requirements" in status(snapshot).reason
    yield server
    assert not any((tmp_path / "environments").iterdir())


async def test_a_version_that_is_removed_while_it_installs_is_gone_at_once(installing, tmp_path):
    await installing.edit(edits.delete_model, "svm")
    await installing.until(lambda _: not installing.controller._slots)
    await installing.until(lambda _: not any((tmp_path / "environments").iterdir()))


async def test_a_server_that_stops_waits_for_no_installation(installing):
    await installing.controller.stop(stop_replicas=True, grace_s=5.0)
    assert installing.manager._preparing == {}
