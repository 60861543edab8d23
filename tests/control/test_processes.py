"""The process manager below the controller: how processes end, what is told of it, whose they are."""

import asyncio
import errno
import os
import shutil
import signal
import stat
import tempfile
import uuid
from pathlib import Path

import psutil
import pytest
from control_harness import SUMS, is_alive

from clipper.control.manager import NotPrepared, ReplicaSpec
from clipper.control.processes import (
    MAX_SOCKET_PATH_BYTES,
    ProcessManager,
    command_line,
    exit_sentence,
    find_running,
    socket_directory,
)
from clipper.domain import Version, VersionSpec
from clipper.errors import UnknownReplica

MANIFEST = '{"format": 1, "flavor": "python", "input_type": "doubles", "entry": "model.py:predict"}'


def a_spec(directory, source=SUMS, replica_id="svm.1.g1.r0"):
    directory.mkdir(exist_ok=True)
    (directory / "manifest.json").write_text(MANIFEST)
    (directory / "model.py").write_text(source)
    version = Version(model="svm", spec=VersionSpec(version="1", input_type="doubles"), generation=1, digest="d")
    return ReplicaSpec(replica_id, version, directory)


class Watched:
    """A manager and the exits that it told of."""

    def __init__(self, installation_id, data_dir):
        self.manager = ProcessManager(installation_id, data_dir, orphan_timeout_s=30.0)
        self.exits = asyncio.Queue()
        self.manager.on_exit = self.exits.put_nowait


@pytest.fixture
async def host(tmp_path):
    made, ours = [], uuid.uuid4().hex

    def make(installation_id=ours):
        made.append(Watched(installation_id, tmp_path / "data"))
        return made[-1]

    yield make
    for watched in made:
        for replica_id in tuple(watched.manager._processes):
            watched.manager.kill(replica_id, "the test is over")
            await watched.manager.stop(replica_id, 0)
        await watched.manager.close()
    assert find_running(ours) == []


async def serving_signals(watched, event="listening"):
    """Waits until the replica has logged the event: from then on it obeys signals as a replica does."""
    while f'"event":"{event}"' not in watched.manager.logs("svm.1.g1.r0", 1000):  # noqa: ASYNC110  # a file has no event
        await asyncio.sleep(0.001)


async def test_a_replica_that_is_asked_to_end_does_and_nothing_is_left(host, tmp_path):
    watched = host()
    running = await watched.manager.start(a_spec(tmp_path / "artifact"))
    await serving_signals(watched)
    await watched.manager.stop(running.replica_id, 10.0)
    end = await watched.exits.get()
    assert (end.reason, end.last_words, end.load_failed) == ("exited with code 0", None, False)
    assert not is_alive(running.pid)


async def test_a_replica_that_does_not_end_is_killed_and_the_reason_says_so(host, tmp_path):
    watched = host()
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    running = await watched.manager.start(a_spec(tmp_path / "artifact", deaf + SUMS))
    await serving_signals(watched, "ready")
    await watched.manager.stop(running.replica_id, 0.05)
    assert (await watched.exits.get()).reason == "killed: it did not end within 0.05 s of being asked to"
    assert not is_alive(running.pid)


async def test_a_stopped_process_is_woken_to_end(host, tmp_path):
    watched = host()
    running = await watched.manager.start(a_spec(tmp_path / "artifact"))
    await serving_signals(watched)
    os.kill(running.pid, signal.SIGSTOP)
    await watched.manager.stop(running.replica_id, 10.0)
    assert (await watched.exits.get()).reason == "exited with code 0"


async def test_a_model_in_an_image_is_not_run_as_a_process(host, tmp_path):
    spec = a_spec(tmp_path / "artifact")
    baked = spec.version.model_copy(update={"spec": VersionSpec(version="1", flavor="image", input_type="doubles")})
    with pytest.raises(NotPrepared, match="clipper up --manager docker"):
        await host().manager.start(ReplicaSpec(spec.replica_id, baked, spec.artifact_dir))


async def test_a_model_that_does_not_load_is_told_from_a_crash(host, tmp_path):
    watched = host()
    await watched.manager.start(a_spec(tmp_path / "artifact", "raise RuntimeError('no weights')"))
    end = await watched.exits.get()
    assert end.load_failed
    assert end.reason.startswith("The model could not be loaded: ")
    assert end.last_words.endswith("RuntimeError: no weights")


async def test_a_file_of_the_artifact_cannot_take_the_place_of_a_module_of_the_runtime(host, tmp_path):
    watched = host()
    spec = a_spec(tmp_path / "artifact")
    (spec.artifact_dir / "socket.py").write_text("raise SystemExit('shadowed')")
    await watched.manager.start(spec)
    await serving_signals(watched, "ready")


async def test_last_words_are_those_of_the_last_run(host, tmp_path):
    watched = host()
    said = []
    for word in ("first", "second"):
        await watched.manager.start(a_spec(tmp_path / "artifact", f"import os\nprint('{word}')\nos._exit(7)\n"))
        end = await watched.exits.get()
        said.append((end.reason, end.last_words))
    assert said == [("exited with code 7", "first"), ("exited with code 7", "second")]
    assert "first" in watched.manager.logs("svm.1.g1.r0", 100)


async def test_only_this_installation_s_replicas_are_adopted(host, tmp_path):
    watched = host()
    running = await watched.manager.start(a_spec(tmp_path / "artifact"))
    await serving_signals(watched)
    assert await host("another-installation").manager.adopt() == []
    (found,) = await host().manager.adopt()
    assert found == running


async def test_a_copy_of_the_data_directory_has_replicas_of_its_own(host, tmp_path):
    watched = host()
    await watched.manager.start(a_spec(tmp_path / "artifact"))
    await serving_signals(watched)
    shutil.copytree(tmp_path / "data", tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock"))
    copy = ProcessManager(watched.manager._installation_id, tmp_path / "copy", orphan_timeout_s=30.0)
    assert await copy.adopt() == []
    await copy.close()


async def test_of_two_processes_of_one_replica_the_elder_ends(host, tmp_path):
    watched, younger_host, next_host = host(), host(), host()
    elder = await watched.manager.start(a_spec(tmp_path / "artifact"))
    await serving_signals(watched)
    younger = await younger_host.manager.start(a_spec(tmp_path / "artifact"))
    while len(find_running(younger_host.manager._installation_id)) < 2:
        pass  # a process that has just been started has no arguments yet
    assert elder.pid_created_at <= younger.pid_created_at
    assert [running.pid for running in await next_host.manager.adopt()] == [younger.pid]
    assert (await watched.exits.get()).reason.startswith("killed by signal 9")


PARENT = """
import subprocess
print("child", subprocess.Popen(["sleep", "600"]).pid)
"""


@pytest.mark.parametrize("adopted", [False, True])
async def test_what_a_replica_started_ends_with_it_even_if_the_clock_was_set(host, tmp_path, monkeypatch, adopted):
    watched = host()
    running = await watched.manager.start(a_spec(tmp_path / "artifact", PARENT + SUMS))
    await serving_signals(watched, "ready")
    logged = watched.manager.logs("svm.1.g1.r0", 1000)
    child = int(logged.partition("child ")[2].split()[0])
    if adopted:
        watched = host()
        await watched.manager.adopt()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: 1e9)
    os.kill(running.pid, signal.SIGKILL)
    await watched.exits.get()
    while is_alive(child):  # noqa: ASYNC110  # the end of somebody else's child has no event
        await asyncio.sleep(0.001)


async def test_a_replica_that_could_not_be_watched_is_not_left_running(host, tmp_path, monkeypatch):
    watched = host()

    def exhausted(_pid):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", exhausted)
    with pytest.raises(OSError, match="open files"):
        await watched.manager.start(a_spec(tmp_path / "artifact"))
    assert find_running(watched.manager._installation_id) == []


async def test_logs_of_nobody_are_an_error_and_cannot_leave_the_directory(host, tmp_path):
    watched = host()
    (tmp_path / "data" / "secret.log").write_text("secret")
    for replica_id in ("svm.1.g9.r9", "../secret", "", "a" * 300):
        with pytest.raises(UnknownReplica):
            watched.manager.logs(replica_id, 10)


async def test_what_cannot_be_started_raises_an_os_error(host, tmp_path):
    watched = host()
    spec = a_spec(tmp_path / "artifact")
    shutil.rmtree(spec.artifact_dir)
    with pytest.raises(OSError, match="artifact"):
        await watched.manager.start(spec)


@pytest.mark.parametrize(
    ("code", "words", "sentence"),
    [
        (0, None, "exited with code 0"),
        (3, None, "exited with code 3"),
        (3, "MemoryError: 8 GB", "exited with code 3; out of memory: see limits.memory_mb"),
        (4, None, "its model could not be loaded"),
        (-11, None, "killed by signal 11 (SIGSEGV)"),
        (-9, None, "killed by signal 9 (SIGKILL), by hand or by the kernel because memory ran out"),
        (-99, None, "killed by signal 99 (unknown)"),
        (None, None, "ended while this server had adopted it, so its exit status is not known"),
    ],
)
def test_how_a_process_ended_is_a_sentence(code, words, sentence):
    assert exit_sentence(code, words) == sentence


def test_a_short_data_directory_holds_the_sockets_and_only_the_user_may_enter():
    with tempfile.TemporaryDirectory(prefix="c") as short:
        directory = socket_directory(Path(short))
        assert directory == Path(short, "run")
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_deep_data_directory_gets_a_private_temporary_one(tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    directory = socket_directory(deep)
    try:
        assert socket_directory(deep) == directory
        assert directory.parent == Path(tempfile.gettempdir())
        assert len(os.fsencode(directory / "0123456789abcdefghij.sock")) < MAX_SOCKET_PATH_BYTES
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    finally:
        directory.rmdir()


def test_a_temporary_directory_that_is_a_link_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    (tmp_path / "elsewhere").mkdir()
    directory = socket_directory(deep)
    directory.rmdir()
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match=directory.name):
        socket_directory(deep)


def test_the_command_line_says_everything_that_adoption_needs(tmp_path):
    line = command_line(a_spec(tmp_path / "artifact"), "unix:/x", "i", 60.0)
    assert line[1:4] == ["-P", "-m", "clipper_container"]
    pairs = dict(zip(line[4::2], line[5::2], strict=True))
    assert (pairs["--replica"], pairs["--generation"], pairs["--installation"]) == ("svm.1.g1.r0", "1", "i")
    assert "--memory-mb" not in pairs
