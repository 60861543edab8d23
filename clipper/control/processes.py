"""Replicas as processes of this host: each one a session of its own that outlives the server.

Children and adopted processes are watched alike, through a pidfd: no polling, and no signal can reach a later process
that got the same pid.
"""

import asyncio
import contextlib
import functools
import hashlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from clipper.control.environments import Environments
from clipper.control.logfiles import LogFiles
from clipper.control.manager import Exit, NotPrepared, ReplicaSpec, Running
from clipper.control.runtime_command import RUNTIME_MODULE, command_line, environment
from clipper.errors import UnknownReplica
from clipper.manifest import IMAGE_FLAVOR

NICENESS = 5
"""Replicas give way to the frontend, which answers for all of them."""
LOAD_FAILED_EXIT_CODE = 4
"""`clipper_container.runtime.EXIT_FAILED`, which cannot be imported here without numpy."""
MAX_SOCKET_PATH_BYTES = 100
"""Linux allows 108, macOS 104, with the final zero."""

_SOCKET_NAME_CHARS = 20

_log = logging.getLogger(__name__)


@dataclass
class _Process:
    running: Running
    identity: psutil.Process
    pidfd: int
    child: subprocess.Popen[bytes] | None
    log_start: int
    killed_because: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class ProcessManager:
    """A `ReplicaManager` whose replicas are processes.

    Args:
        installation_id: Told to each replica, so that a restarted server knows its own.
        data_dir: Holds ``logs/``, ``environments/`` and, where the path is short enough for a socket, ``run/``.
        orphan_timeout_s: How long a replica stays that nobody talks to.
    """

    on_exit: Callable[[Exit], None]
    on_progress: Callable[[str, str], None]

    def __init__(self, installation_id: str, data_dir: Path, *, orphan_timeout_s: float) -> None:
        self.host_id = socket.gethostname()
        self.on_exit = lambda _end: None
        self.on_progress = lambda _replica_id, _doing: None
        self._installation_id = installation_id
        self._orphan_timeout_s = orphan_timeout_s
        self._logs = LogFiles(data_dir.resolve() / "logs")
        self._sockets = socket_directory(data_dir.resolve())
        self._environments = Environments(data_dir.resolve() / "environments")
        self._preparing: dict[str, asyncio.Task[Path]] = {}
        self._processes: dict[str, _Process] = {}
        self._loop = asyncio.get_running_loop()

    async def start(self, spec: ReplicaSpec) -> Running:
        """See `ReplicaManager.start`. A cancelled start leaves either a replica that is watched or none."""
        return await asyncio.shield(self._loop.create_task(self._start(spec)))

    async def adopt(self) -> list[Running]:
        """See `ReplicaManager.adopt`; of two processes with one replica id the elder one is killed."""
        for identity, running in await asyncio.to_thread(_find, self._installation_id):
            if _socket_path(running).parent != self._sockets:
                continue  # of a server on a copy of this data directory
            twin = self._processes.pop(running.replica_id, None)
            if twin is not None:
                self._loop.remove_reader(twin.pidfd)
                _send(twin, signal.SIGKILL)
                os.close(twin.pidfd)
            pidfd = _open_pidfd(identity)
            if pidfd is not None:
                self._watch(_Process(running, identity, pidfd, None, 0))
        return [process.running for process in self._processes.values() if process.child is None]

    async def stop(self, replica_id: str, grace_s: float) -> None:
        """See `ReplicaManager.stop`. Cancelling it leaves the replica asked to end."""
        process = self._processes.get(replica_id)
        if process is None:
            self.kill(replica_id, "it was stopped before it could start")
            return
        _send(process, signal.SIGTERM)
        # A stopped process (SIGSTOP) handles SIGTERM only when it goes on.
        _send(process, signal.SIGCONT)
        try:
            async with asyncio.timeout(grace_s):
                await process.ended.wait()
        except TimeoutError:
            self.kill(replica_id, f"killed: it did not end within {grace_s:g} s of being asked to")
            await process.ended.wait()

    def kill(self, replica_id: str, reason: str) -> None:
        """See `ReplicaManager.kill`."""
        if (preparing := self._preparing.get(replica_id)) is not None:
            preparing.cancel(reason)
        process = self._processes.get(replica_id)
        if process is not None:
            process.killed_because = process.killed_because or reason
            _send(process, signal.SIGKILL)

    def logs(self, replica_id: str, lines: int) -> str:
        """See `ReplicaManager.logs`."""
        text = self._logs.tail(replica_id, lines)
        if text is None:
            raise UnknownReplica(f"There is no replica '{replica_id[:200]}' on the host {self.host_id}.")
        return text

    async def tick(self, generations: Collection[int]) -> None:
        """See `ReplicaManager.tick`."""
        await asyncio.to_thread(self._tidy_logs, frozenset(generations))
        await self._environments.collect(generations)

    async def close(self) -> None:
        """See `ReplicaManager.close`."""
        await self._environments.close()
        if not self._processes:
            await asyncio.to_thread(shutil.rmtree, self._sockets, ignore_errors=True)
        for process in self._processes.values():
            self._loop.remove_reader(process.pidfd)
            os.close(process.pidfd)
            if process.child is not None:
                process.child.returncode = 0  # outlives us on purpose: Popen is not to warn of it
        self._processes.clear()

    async def _start(self, spec: ReplicaSpec) -> Running:
        python = await self._prepared(spec)
        process = await asyncio.to_thread(self._spawn, spec, python)
        self._watch(process)
        return process.running

    async def _prepared(self, spec: ReplicaSpec) -> Path | None:
        """The interpreter that has what the model requires; None for the server's own."""
        if spec.version.spec.flavor == IMAGE_FLAVOR:
            raise NotPrepared(
                "its model is in a Docker image, and replicas are processes here: clipper up --manager docker"
            )
        requirements = spec.version.manifest.get("requirements")
        if not requirements:
            return None
        tell = functools.partial(self.on_progress, spec.replica_id)
        work = self._environments.python(requirements, spec.artifact_dir, spec.version.generation, tell)
        self._preparing[spec.replica_id] = task = self._loop.create_task(work)
        try:
            return await task
        except asyncio.CancelledError as error:
            if not task.cancelled():
                raise  # not `kill`, but the end of everything
            raise NotPrepared(str(error) or "it was stopped before it could start") from error
        except NotPrepared as error:
            await asyncio.to_thread(self._logs.append, spec.replica_id, f"{error.last_words or error.message}\n")
            raise
        finally:
            del self._preparing[spec.replica_id]

    def _spawn(self, spec: ReplicaSpec, python: Path | None) -> _Process:
        path = self._sockets / f"{_digest(spec.replica_id)}.sock"
        path.unlink(missing_ok=True)
        address = f"unix:{path}"
        log, log_start = self._logs.open(spec.replica_id)
        with log:
            child = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                command_line(spec, address, self._installation_id, self._orphan_timeout_s, python),
                cwd=spec.artifact_dir,
                env=environment(dict(os.environ), spec.version.spec.limits),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            pidfd = os.pidfd_open(child.pid)
        except OSError:
            # No file descriptor is left: nobody would notice its end.
            child.kill()
            child.wait()
            raise
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, child.pid, min(19, os.nice(0) + NICENESS))
        version = spec.version
        identity = psutil.Process(child.pid)
        running = Running(
            spec.replica_id,
            version.model,
            version.spec.version,
            version.generation,
            address,
            child.pid,
            identity.create_time(),
        )
        return _Process(running, identity, pidfd, child, log_start)

    def _watch(self, process: _Process) -> None:
        self._processes[process.running.replica_id] = process
        self._loop.add_reader(process.pidfd, self._on_end, process)

    def _on_end(self, process: _Process) -> None:
        self._loop.remove_reader(process.pidfd)
        os.close(process.pidfd)
        replica_id = process.running.replica_id
        self._processes.pop(replica_id, None)
        last_words = self._logs.last_words(replica_id, process.log_start)
        # Before its own process is reaped: until then no other one can have its pid, which names the group.
        _end_group(process.identity)
        code = process.child.wait() if process.child is not None else None
        said = self._logs.why_failed(replica_id, process.log_start) if code == LOAD_FAILED_EXIT_CODE else None
        reason = process.killed_because or said or exit_sentence(code, last_words)
        process.ended.set()
        self.on_exit(Exit(replica_id, reason, last_words, load_failed=code == LOAD_FAILED_EXIT_CODE))

    def _tidy_logs(self, generations: frozenset[int]) -> None:
        try:
            self._logs.bound()
            self._logs.collect(generations)
        except OSError:
            _log.warning("The replicas' logs could not be tidied.", exc_info=True)


def exit_sentence(code: int | None, last_words: str | None) -> str:
    """How a process ended, for people; ``code`` is negative for a signal, None where only its end was seen."""
    if code is None:
        return "ended while this server had adopted it, so its exit status is not known"
    if code == LOAD_FAILED_EXIT_CODE:
        return "its model could not be loaded"
    if code >= 0:
        hint = "; out of memory: see limits.memory_mb" if code and "MemoryError" in (last_words or "") else ""
        return f"exited with code {code}{hint}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = ", by hand or by the kernel because memory ran out" if code == -signal.SIGKILL else ""
    return f"killed by signal {-code} ({name}){hint}"


def socket_directory(data_dir: Path) -> Path:
    """Where the replicas' sockets are: below the data directory, or in a private temporary one if that is too deep.

    Raises:
        PermissionError: The temporary directory belongs to somebody else.
    """
    below = data_dir / "run"
    longest = len(os.fsencode(below)) + len("/.sock") + _SOCKET_NAME_CHARS
    elsewhere = Path(tempfile.gettempdir(), f"clipper-{_digest(str(data_dir))}")
    directory = below if longest < MAX_SOCKET_PATH_BYTES else elsewhere
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.lstat().st_uid != os.getuid() or directory.is_symlink():
        raise PermissionError(f"{directory} belongs to another user: remove it, or choose a shorter --data-dir.")
    directory.chmod(0o700)
    return directory


def find_running(installation_id: str) -> list[Running]:
    """This user's replicas of the installation, the eldest first, read from the processes' arguments."""
    return [running for _, running in _find(installation_id)]


def _find(installation_id: str) -> list[tuple[psutil.Process, Running]]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, KeyError, ValueError):
            arguments = process.cmdline()
            if RUNTIME_MODULE not in arguments or installation_id not in arguments:
                continue
            if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            found.append((process, _running(process, arguments[arguments.index(RUNTIME_MODULE) + 1 :])))
    return sorted(found, key=lambda pair: pair[1].pid_created_at)


def _running(process: psutil.Process, arguments: list[str]) -> Running:
    said = dict(zip(arguments[::2], arguments[1::2], strict=False))
    return Running(
        said["--replica"],
        said["--model"],
        said["--version"],
        int(said["--generation"]),
        said["--listen"],
        process.pid,
        process.create_time(),
    )


def _open_pidfd(identity: psutil.Process) -> int | None:
    """A handle of exactly this process; None when it has ended, even if its pid is in use again."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    if not identity.is_running():
        os.close(pidfd)
        return None
    return pidfd


def _end_group(identity: psutil.Process) -> None:
    """End what the replica started itself (worker pools, data loaders) and left behind.

    A process is told from a later one with its pid by when it started after boot: the time of day may be set meanwhile.
    """
    if identity.is_running() or not psutil.pid_exists(identity.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(identity.pid, signal.SIGKILL)


def _send(process: _Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process.pidfd, number)


def _digest(name: str) -> str:
    return hashlib.blake2b(os.fsencode(name), digest_size=_SOCKET_NAME_CHARS // 2).hexdigest()


def _socket_path(running: Running) -> Path:
    return Path(running.address.removeprefix("unix:"))
