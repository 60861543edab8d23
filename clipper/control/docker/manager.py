"""Replicas as containers of a Docker engine, on this host or another."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipper.control.docker.calls import ReplicaContainers
from clipper.control.docker.containers import is_baked
from clipper.control.docker.endings import reason_of
from clipper.control.docker.engine import Engine, EngineRefused
from clipper.control.docker.images import Images
from clipper.control.docker.network import KeepOut, Network
from clipper.control.docker.volumes import Volumes
from clipper.control.docker.watcher import Watcher
from clipper.control.logfiles import LogFiles
from clipper.control.manager import Exit, NotPrepared, ReplicaSpec, Running
from clipper.control.processes import LOAD_FAILED_EXIT_CODE
from clipper.errors import InvalidRequest, UnknownReplica
from clipper.rpc.secrets import ReplicaSecrets

STOP_SLACK_S = 10.0
"""An engine that takes longer than the grace and this to stop a container is not waited for."""
COLLECT_INTERVAL_S = 10.0
PAUSED = "killed: its container was paused (docker pause), and a replica that is paused answers nobody"

_log = logging.getLogger(__name__)


@dataclass
class _Replica:
    running: Running
    container_id: str
    killed_because: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class _Birth:
    """A replica on its way: what is awaited for it, and why it is not wanted any more."""

    waiting: asyncio.Future[str] | None = None
    abandoned_because: str | None = None

    def abandon(self, reason: str) -> None:
        self.abandoned_because = self.abandoned_because or reason
        if self.waiting is not None:
            self.waiting.cancel()

    def require_wanted(self) -> None:
        if self.abandoned_because is not None:
            raise NotPrepared(self.abandoned_because)


class DockerManager:
    """A `ReplicaManager` whose replicas are containers.

    Everything that it makes carries the installation's id as a label, and nothing without it is touched. A look at the
    engine (at every event, and periodically) compares what runs with what should; so an engine that was away costs a
    delay only. What blocks runs in the engine's threads.

    Args:
        engine: Connected; the manager closes it.
        images: Provides what containers run.
        installation_id: Whose the containers are.
        data_dir: Holds ``logs/``.
        secrets: What each replica and its callers share.
        network: The name of a network that is there already, with this server in it; None: one of our own.
        keep_out: Called with the networks from which replicas could reach this server.
        orphan_timeout_s: How long a replica stays that nobody talks to.
    """

    on_exit: Callable[[Exit], None]
    on_progress: Callable[[str, str], None]

    def __init__(
        self,
        engine: Engine,
        images: Images,
        installation_id: str,
        data_dir: Path,
        *,
        secrets: ReplicaSecrets,
        network: str | None,
        keep_out: KeepOut,
        orphan_timeout_s: float,
    ) -> None:
        self.host_id = engine.base_url
        self.on_exit = lambda _end: None
        self.on_progress = lambda _replica_id, _doing: None
        self._engine = engine
        self._images = images
        self._logs = LogFiles(data_dir.resolve() / "logs")
        self._network = Network(engine, installation_id, network, keep_out)
        self._containers = ReplicaContainers(engine, installation_id, self._logs, secrets, orphan_timeout_s)
        self._volumes = Volumes(engine, installation_id)
        self._replicas: dict[str, _Replica] = {}
        self._births: dict[str, _Birth] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._look_again = asyncio.Event()
        self._silence: str | None = None
        self._collect_at_s = 0.0
        self._watcher = Watcher(engine, installation_id, self._on_event, self._on_silence)
        self._looking: asyncio.Task[None] | None = None

    async def start(self, spec: ReplicaSpec) -> Running:
        """See `ReplicaManager.start`. A cancelled start leaves either a replica that is watched or none."""
        return await asyncio.shield(self._spawn(self._start(spec), "start"))

    async def adopt(self) -> list[Running]:
        """See `ReplicaManager.adopt`. What an earlier server left half-made or dead is cleared away.

        Raises:
            EngineRefused: The engine cannot be asked.
        """
        for listed in await self._engine.call(self._containers.found):
            if listed.state == "running":
                with contextlib.suppress(EngineRefused, InvalidRequest):
                    running = await self._engine.call(self._containers.describe, listed.container_id)
                    self._replicas[running.replica_id] = _Replica(running, listed.container_id)
        await self._network.provide()
        found_here = [replica.running for replica in self._replicas.values()]
        await self._look()
        self._watcher.start()
        self._looking = self._loop.create_task(self._keep_looking(), name="docker")
        return found_here

    async def stop(self, replica_id: str, grace_s: float) -> None:
        """See `ReplicaManager.stop`. Cancelling it leaves the replica asked to end."""
        self._abandon(replica_id, "it is not wanted any more")
        replica = self._replicas.get(replica_id)
        if replica is None:
            return
        try:
            async with asyncio.timeout(grace_s + STOP_SLACK_S):
                await self._engine.call(self._containers.stop, replica.container_id, grace_s)
                self._look_again.set()
                await replica.ended.wait()
        except (EngineRefused, TimeoutError) as error:
            _log.warning("The container of %s cannot be stopped now: %s", replica_id, error or "it takes too long")

    def kill(self, replica_id: str, reason: str) -> None:
        """See `ReplicaManager.kill`."""
        self._abandon(replica_id, reason)
        replica = self._replicas.get(replica_id)
        if replica is not None:
            replica.killed_because = replica.killed_because or reason
            self._spawn(self._kill(replica), "kill")

    def logs(self, replica_id: str, lines: int) -> str:
        """See `ReplicaManager.logs`. Asks the engine: call it in a thread."""
        past = self._logs.tail(replica_id, lines)
        replica = self._replicas.get(replica_id)
        if past is None and replica is None:
            raise UnknownReplica(f"There is no replica '{replica_id[:200]}' on the engine {self.host_id}.")
        present = ""
        if replica is not None:
            with contextlib.suppress(EngineRefused):
                present = self._containers.printed(replica.container_id, lines)
        return "".join(((past or "") + present).splitlines(keepends=True)[-lines:]) if lines > 0 else ""

    async def tick(self, generations: Collection[int]) -> None:
        """See `ReplicaManager.tick`. The engine is asked in the background: it may take its time."""
        self._look_again.set()
        if self._loop.time() >= self._collect_at_s:
            self._collect_at_s = self._loop.time() + COLLECT_INTERVAL_S
            self._spawn(self._tidy(frozenset(generations)), "tidy")

    async def close(self) -> None:
        """See `ReplicaManager.close`. Where no replica is left, neither are volumes and networks."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SLACK_S)
        await asyncio.to_thread(self._watcher.close)
        if not self._replicas:
            try:
                await self._volumes.collect(None)
                await self._network.remove()
            except EngineRefused as error:
                _log.warning("What the replicas used cannot be removed from the Docker engine: %s", error)
        self._engine.close()

    async def _start(self, spec: ReplicaSpec) -> Running:
        birth = self._births[spec.replica_id] = _Birth()
        try:
            image = await self._image(spec, birth)
            volume = None
            if not is_baked(spec):
                volume = await self._volumes.provide(spec.version.generation, spec.artifact_dir, image)
            network = await self._network.provide()
            birth.require_wanted()
            running, container_id = await self._engine.call(
                self._containers.start, spec, image=image, volume=volume, network=network
            )
            self._replicas[spec.replica_id] = _Replica(running, container_id)
        except NotPrepared as error:
            await asyncio.to_thread(self._logs.append, spec.replica_id, f"{error.last_words or error.message}\n")
            raise
        finally:
            del self._births[spec.replica_id]
        if birth.abandoned_because is not None:
            self.kill(spec.replica_id, birth.abandoned_because)
        return running

    async def _image(self, spec: ReplicaSpec, birth: _Birth) -> str:
        version = spec.version

        def tell(doing: str) -> None:
            self.on_progress(spec.replica_id, doing)

        birth.waiting = asyncio.ensure_future(
            self._images.provide_baked(version.manifest["entry"], version.spec.input_type, tell)
            if is_baked(spec)
            else self._images.provide(version.spec.flavor, version.manifest, spec.artifact_dir, tell)
        )
        try:
            return await birth.waiting
        except asyncio.CancelledError:
            birth.require_wanted()
            raise
        finally:
            birth.waiting = None

    def _abandon(self, replica_id: str, reason: str) -> None:
        birth = self._births.get(replica_id)
        if birth is not None:
            birth.abandon(reason)

    async def _kill(self, replica: _Replica) -> None:
        try:
            await self._engine.call(self._containers.kill, replica.container_id)
        except EngineRefused as error:
            _log.warning("The container of %s cannot be killed now: %s", replica.running.replica_id, error)

    def _on_event(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._look_again.set)

    def _on_silence(self, reason: str) -> None:
        with contextlib.suppress(RuntimeError):  # as above
            self._loop.call_soon_threadsafe(self._note_silence, reason)

    def _note_silence(self, reason: str) -> None:
        if self._silence is None:
            _log.warning("The Docker engine at %s does not answer: %s", self.host_id, reason)
        self._silence = reason

    async def _keep_looking(self) -> None:
        while True:
            await self._look_again.wait()
            self._look_again.clear()
            try:
                await self._look()
            except EngineRefused as error:
                self._note_silence(str(error))
            except Exception:  # noqa: BLE001  # one bad step must not end looking for good
                _log.exception("The Docker manager failed at one look at the engine; it looks again.")

    async def _look(self) -> None:
        """Compare what is on the engine with what should be there."""
        known = tuple(self._replicas.values())
        being_born = set(self._births)
        found = {listed.container_id: listed for listed in await self._engine.call(self._containers.found)}
        for replica in known:
            listed = found.get(replica.container_id)
            if listed is None or listed.has_ended:
                await self._bury(replica)
            elif listed.state == "paused" or replica.killed_because is not None:
                # The second: it was to be killed when the engine did not listen.
                self.kill(replica.running.replica_id, PAUSED)
        ours = {replica.container_id for replica in (*known, *self._replicas.values())}
        being_born |= set(self._births)
        for listed in found.values():
            if (
                listed.container_id not in ours
                and listed.replica_id is not None
                and listed.replica_id not in being_born
            ):
                await self._engine.call(self._containers.clear_away, listed.replica_id, listed.container_id)
        if self._silence is not None:
            self._silence = None
            _log.warning("The Docker engine at %s answers again.", self.host_id)

    async def _bury(self, replica: _Replica) -> None:
        """Report how a container ended, keep what it said, and remove it."""
        replica_id = replica.running.replica_id
        ending, last_words = await self._engine.call(self._containers.bury, replica_id, replica.container_id)
        if self._replicas.get(replica_id) is replica:
            del self._replicas[replica_id]
        replica.ended.set()
        load_failed = ending is not None and ending.exit_code == LOAD_FAILED_EXIT_CODE
        if load_failed:
            self._volumes.doubt(replica.running.generation)
        reason = replica.killed_because or reason_of(ending, last_words, engine_was_away=self._silence is not None)
        self.on_exit(Exit(replica_id, reason, last_words, load_failed=load_failed))

    async def _tidy(self, generations: frozenset[int]) -> None:
        try:
            await asyncio.to_thread(self._logs.bound)
            await asyncio.to_thread(self._logs.collect, generations)
            await self._volumes.collect(generations)
        except (EngineRefused, OSError) as error:
            _log.warning("What versions left behind cannot be cleared away now: %s", error)

    def _spawn(self, work: Any, name: str) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self._loop.create_task(work, name=f"docker {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
