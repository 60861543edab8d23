"""The controller with real processes: what starts, what dies, what comes back, what is left."""

import contextlib
import os
import signal

import psutil
import pytest
from control_harness import SUMS, ask, is_alive, model_tar, ready_replicas, serving, status

from clipper.control import desired as edits
from clipper.control.processes import LOAD_FAILED_EXIT_CODE, NICENESS, find_running
from clipper.domain import VersionSpec
from clipper.errors import UnknownArtifact, UnknownReplica
from clipper.state.sqlite import SqliteStore


@pytest.fixture
async def server(tmp_path, monkeypatch):
    monkeypatch.setattr("clipper.control.controller.TIDY_INTERVAL_S", 0.05)
    async with serving(tmp_path) as made:
        yield made


async def test_a_deployed_version_becomes_ready_and_answers(server):
    await server.deploy(SUMS, replicas=2)
    snapshot = await server.until_ready(replicas=2)
    assert [await ask(replica, 1, 2.5) for replica in ready_replicas(snapshot)] == [3.5, 3.5]
    assert status(snapshot).state == "ready"


async def test_noop_needs_no_artifact(server):
    spec = VersionSpec(version="1", flavor="noop", input_type="doubles")
    await server.store.change(
        lambda desired, revision: edits.create_version(
            desired, "svm", spec, generation=revision, digest=None, manifest={}, now=1.0
        )
    )
    await server.until_ready()


async def test_a_killed_replica_is_back_under_its_name_and_the_server_says_why_it_died(server):
    await server.deploy("print('the model was here')\n" + SUMS)
    (before,) = ready_replicas(await server.until_ready())
    os.kill(before.pid, signal.SIGKILL)
    snapshot = await server.until(lambda s: any(r.restarts == 1 for r in ready_replicas(s)))
    (after,) = ready_replicas(snapshot)
    assert (after.replica_id, after.address) == (before.replica_id, before.address)
    assert after.pid != before.pid
    assert after.reason.startswith("killed by signal 9 (SIGKILL)")
    assert after.last_words == "the model was here"
    assert await ask(after, 4) == 4


async def test_what_a_replica_started_itself_ends_with_it(server):
    source = "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
    await server.deploy(source + "def predict(xs):\n    return [child.pid for x in xs]\n")
    (replica,) = ready_replicas(await server.until_ready())
    child = psutil.Process(await ask(replica, 1))
    os.kill(replica.pid, signal.SIGKILL)
    await server.until(lambda s: any(r.restarts == 1 for r in ready_replicas(s)))
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(10)


async def test_a_crash_in_predict_s_native_code_is_told_with_its_last_words(server):
    source = "import os, sys\ndef predict(xs):\n    sys.stderr.write('giving up\\n')\n    os._exit(3)\n"
    await server.deploy(source)
    (replica,) = ready_replicas(await server.until_ready())
    with pytest.raises(ConnectionError):
        await ask(replica, 1)
    snapshot = await server.until(lambda s: any(r.restarts for r in s.observed.replicas.values()))
    (replica,) = snapshot.observed.replicas.values()
    assert (replica.reason, replica.last_words) == ("exited with code 3", "giving up")


async def test_a_model_that_does_not_load_fails_with_the_sentence_and_leaves_the_traffic(server):
    await server.deploy(SUMS)
    await server.until_ready()
    await server.deploy("import a_module_that_is_missing\n", "2")
    snapshot = await server.until(lambda s: status(s, "2") is not None and status(s, "2").state == "failed")
    assert "No module named 'a_module_that_is_missing'" in status(snapshot, "2").reason
    assert snapshot.observed.current == {"svm": "1"}
    snapshot = await server.until(lambda s: any(r.last_words for r in s.observed.replicas.values()))
    (failed,) = (r for r in snapshot.observed.replicas.values() if r.version == "2")
    assert failed.state == "failed"
    assert "import a_module_that_is_missing" in failed.last_words, "the traceback shows the line"


def test_the_exit_code_of_a_failed_load_is_the_runtime_s():
    from clipper_container.runtime import EXIT_FAILED  # noqa: PLC0415  # imports numpy

    assert LOAD_FAILED_EXIT_CODE == EXIT_FAILED


async def test_a_new_version_takes_over_only_when_it_is_ready_and_the_old_one_stays_warm(server):
    await server.deploy(SUMS)
    await server.until_ready()
    seen = []
    await server.deploy("import time\ntime.sleep(0.3)\n" + SUMS, "2")

    async def watch():
        while True:
            server.changed.clear()
            snapshot = await server.store.snapshot()
            seen.append(
                (snapshot.observed.current["svm"], status(snapshot, "2").state if status(snapshot, "2") else "")
            )
            if seen[-1][0] == "2":
                return snapshot
            await server.changed.wait()

    snapshot = await watch()
    assert {state for current, state in seen if current == "2"} == {"ready"}
    assert ("1", "starting") in seen
    assert len(ready_replicas(snapshot, "1")) == 1
    await server.edit(edits.promote, "svm", "1")
    await server.until(lambda s: s.observed.current == {"svm": "1"})
    assert len(ready_replicas(await server.store.snapshot(), "2")) == 1


async def test_a_third_version_ends_the_first_and_promoting_it_brings_it_back(server):
    for version in ("1", "2", "3"):
        await server.deploy(f"# {version}\n" + SUMS, version)
        await server.until_ready(version)
    snapshot = await server.until(lambda s: status(s, "1").state == "stopped")
    assert {replica.version for replica in snapshot.observed.replicas.values()} == {"2", "3"}
    assert len(find_running(server.store.installation_id)) == 2
    await server.edit(edits.promote, "svm", "1")
    await server.until_ready("1")


async def test_scaling_starts_and_ends_replicas(server):
    await server.deploy(SUMS)
    await server.until_ready()
    await server.edit(edits.patch_version, "svm", "1", {"replicas": 3})
    await server.until_ready(replicas=3)
    await server.edit(edits.patch_version, "svm", "1", {"replicas": 1})
    snapshot = await server.until(lambda s: len(s.observed.replicas) == 1)
    assert list(snapshot.observed.replicas) == ["svm.1.g1.r0"]


async def test_stopping_and_deleting_end_the_processes(server):
    await server.deploy(SUMS)
    (replica,) = ready_replicas(await server.until_ready())
    await server.edit(edits.stop_model, "svm")
    await server.until(lambda s: status(s).state == "stopped")
    assert not is_alive(replica.pid)
    await server.edit(edits.delete_model, "svm")
    await server.until(lambda s: s.observed.statuses == {})
    await until_raises(UnknownReplica, server, lambda: server.controller.logs(replica.replica_id))


async def until_raises(error, server, look):
    """Tidies until ``look`` raises."""
    with pytest.raises(error):  # noqa: PT012  # which look raises is a matter of time
        while True:
            look()
            await server.controller._tidy()


async def test_a_version_created_anew_runs_the_new_artifact(server):
    await server.deploy(SUMS)
    await server.until_ready()
    await server.edit(edits.delete_version, "svm", "1", current={})
    await server.deploy(SUMS.replace("x.sum()", "-x.sum()"))
    generation = (await server.store.snapshot()).desired.version("svm", "1").generation
    snapshot = await server.until(lambda s: [r.generation for r in ready_replicas(s)] == [generation])
    assert await ask(ready_replicas(snapshot)[0], 1, 2) == -3


async def test_a_replica_that_prints_megabytes_neither_stalls_nor_fills_the_disk(server, tmp_path, monkeypatch):
    monkeypatch.setattr("clipper.control.logfiles.MAX_LOG_BYTES", 100_000)
    monkeypatch.setattr("clipper.control.logfiles.KEPT_LOG_BYTES", 10_000)
    source = "def predict(xs):\n    print('x' * 99 + '\\n', end='') or [print('y' * 99) for _ in range(30_000)]\n"
    await server.deploy(source + "    return [1.0 for x in xs]\n")
    (replica,) = ready_replicas(await server.until_ready())
    assert await ask(replica, 1) == 1
    log = tmp_path / "logs" / f"{replica.replica_id}.log"
    while log.stat().st_size > 100_000:
        await server.controller._tidy()
    assert sum(path.stat().st_size for path in log.parent.iterdir()) <= 120_000
    assert await ask(replica, 1) == 1
    assert server.controller.logs(replica.replica_id, 2).splitlines() == ["y" * 99] * 2


async def test_a_stalled_replica_is_killed_with_the_reason_and_comes_back(server):
    await server.deploy(SUMS, limits={"hang_timeout_s": 5})
    (before,) = ready_replicas(await server.until_ready())
    server.controller.report_stalled(before.replica_id, 4.9)
    assert is_alive(before.pid)
    os.kill(before.pid, signal.SIGSTOP)
    server.controller.report_stalled(before.replica_id, 5.1)
    snapshot = await server.until(lambda s: any(r.restarts == 1 for r in ready_replicas(s)))
    assert ready_replicas(snapshot)[0].reason == "killed: a batch ran for 5.1 s (limits.hang_timeout_s is 5)"
    with pytest.raises(UnknownReplica):
        server.controller.report_stalled("nobody", 100.0)


async def test_a_replica_runs_with_its_limits_nicer_and_without_the_server_s_secrets(server, monkeypatch):
    monkeypatch.setenv("CLIPPER_ADMIN_TOKEN", "hush")
    monkeypatch.setenv("A_SETTING_OF_THE_MODEL", "kept")
    await server.deploy(SUMS, limits={"threads": 3, "memory_mb": 3000})
    (replica,) = ready_replicas(await server.until_ready())
    process = psutil.Process(replica.pid)
    environment = process.environ()
    assert not [name for name in environment if name.startswith("CLIPPER_")]
    assert (environment["OMP_NUM_THREADS"], environment["A_SETTING_OF_THE_MODEL"]) == ("3", "kept")
    assert process.nice() == min(19, psutil.Process().nice() + NICENESS)
    assert os.sched_getscheduler(replica.pid) == os.SCHED_BATCH
    assert process.rlimit(psutil.RLIMIT_DATA)[0] == 3000 << 20
    assert os.getsid(replica.pid) == replica.pid


async def test_an_artifact_that_is_gone_is_a_reason_not_a_crash(server):
    spec = VersionSpec(version="1", flavor="python", input_type="doubles")
    await server.store.change(
        lambda desired, revision: edits.create_version(
            desired, "svm", spec, generation=revision, digest="0" * 64, manifest={}, now=1.0
        )
    )
    snapshot = await server.until(lambda s: status(s) is not None and status(s).state == "failed")
    assert "could not be started: There is no artifact '000" in status(snapshot).reason


async def test_unreferenced_artifacts_are_collected_and_those_in_use_are_not(server, monkeypatch):
    await server.deploy(SUMS)
    await server.until_ready()
    used = (await server.store.snapshot()).desired.version("svm", "1").digest
    unused = (await server.artifacts.put(one_chunk(model_tar("# unused")), 1 << 20)).digest
    monkeypatch.setattr("clipper.control.artifacts.UNREFERENCED_FOR_S", -1.0)
    await until_raises(UnknownArtifact, server, lambda: server.artifacts.path(unused))
    assert server.artifacts.path(used).is_dir()


async def one_chunk(data):
    yield data


async def test_the_next_server_finds_no_replica_in_the_registry_after_a_graceful_stop(tmp_path):
    async with serving(tmp_path) as server:
        await server.deploy(SUMS)
        await server.until_ready()
    store = await SqliteStore.open(tmp_path)
    observed = (await store.snapshot()).observed
    await store.close()
    assert observed.replicas == {}
    assert observed.current == {"svm": "1"}


async def test_a_store_that_is_gone_does_not_keep_a_crashed_replica_from_coming_back(server, monkeypatch, tmp_path):
    await server.deploy(SUMS)
    (before,) = ready_replicas(await server.until_ready())
    aside = tmp_path / "clipper.aside"
    await server.store._database._in_thread(server.store._database._disconnect)
    (tmp_path / "clipper.db").rename(aside)
    os.kill(before.pid, signal.SIGKILL)
    assert await ask_until_answered(before, 2, 2) == 4, "same name, same address: no registry needed"
    aside.rename(tmp_path / "clipper.db")
    snapshot = await server.until(lambda s: any(r.restarts == 1 for r in ready_replicas(s)))
    assert ready_replicas(snapshot)[0].pid != before.pid


async def ask_until_answered(replica, *numbers):
    while True:
        with contextlib.suppress(ConnectionError):
            return await ask(replica, *numbers)
