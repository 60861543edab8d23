"""Carries out what `decide` decides: starts and ends replicas, watches them, reports what it sees."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipper.control.artifacts import ArtifactStore
from clipper.control.external import NO_PID, WithExternal, out_of_reach
from clipper.control.lifecycle import Action, Kill, Start, Stop, Timing, Traffic, decide
from clipper.control.manager import Exit, NotPrepared, ReplicaManager, ReplicaSpec
from clipper.control.observe import log_changes, log_scaling, observe
from clipper.control.sight import Measured, Sight
from clipper.control.slots import LEAVING, Slot, adopted, exited, preparing, started
from clipper.control.steering import Steering
from clipper.control.watcher import Watcher
from clipper.deployment import External
from clipper.domain import Observed, Snapshot, Version
from clipper.errors import ClipperError, StoreUnavailable, UnknownReplica
from clipper.rpc.contract import Link
from clipper.rpc.dialling import dialler, external_dialler
from clipper.rpc.identity import mismatch
from clipper.rpc.link import ReplicaLink
from clipper.rpc.secrets import ReplicaSecrets
from clipper.settings import Settings
from clipper.state.store import Store

STOP_GRACE_S = 10.0
"""How long a replica that drains may finish its batches."""
TIDY_INTERVAL_S = 1.0
STORE_TIMEOUT_S = 5.0
"""A store that is slower than this does not keep a crashed replica from being restarted."""

_log = logging.getLogger(__name__)


class Controller:
    """The one writer of the observed state. Give it the store, the artifacts and the manager of this host.

    It acts on events (a change in the store, a process that ended, news over a replica's link) and looks again every
    ``reconcile_interval_s``, so that a missed event costs a delay. While the store is away it goes on with what it last
    read, and reports when the store is back.
    """

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactStore,
        manager: ReplicaManager,
        settings: Settings,
        *,
        secrets: ReplicaSecrets | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._manager = WithExternal(manager)
        self._interval_s = max(settings.reconcile_interval_s, 0.01)
        # Frontends look at least once an interval; a second one is for those that are late.
        self._timing = Timing(2 * self._interval_s, settings.start_timeout_s)
        self._clock = clock
        self._wall_clock = wall_clock
        self._draw = draw
        self._loop = asyncio.get_running_loop()
        self._dial = dialler(self._loop, self._loop.time, secrets)
        self._wake = asyncio.Event()
        self._steering = Steering()
        self._snapshot = Snapshot()
        self._observed = Observed()
        self._reported: Observed | None = None
        self._slots: dict[str, Slot] = {}
        self._links: dict[str, ReplicaLink] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._tidy_at_s = 0.0

    async def start(self) -> None:
        """Adopt what runs, then reconcile in the background until `stop`.

        Raises:
            StoreUnavailable: There is nothing to go by yet.
        """
        self._snapshot = await self._store.snapshot()
        self._observed = self._snapshot.observed
        self._manager.on_exit = self._on_exit
        self._manager.on_progress = self._on_progress
        for running in await self._manager.adopt():
            before = self._observed.replicas.get(running.replica_id)
            self._slots[running.replica_id] = adopted(running, before, self._clock())
            self._watch(running.replica_id, running.address, None)
        self._unsubscribe = self._store.subscribe(self._wake.set)
        self._main = self._loop.create_task(self._run(), name="controller")

    async def stop(self, *, stop_replicas: bool, grace_s: float = STOP_GRACE_S) -> None:
        """End reconciling; replicas either end too, within ``grace_s``, or go on for the next server to adopt."""
        self._unsubscribe()
        if self._main is not None:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
        self._abandon(tuple(self._slots.values()))
        await asyncio.gather(*(task for task in self._tasks if task.get_name() == "start"), return_exceptions=True)
        for replica_id in tuple(self._links):
            self._unwatch(replica_id)
        if stop_replicas:
            self._slots = {name: replace(slot, phase="stopping") for name, slot in self._slots.items()}
            await asyncio.gather(*(self._manager.stop(replica_id, grace_s) for replica_id in self._slots))
            self._slots.clear()
            await self._report(Traffic(self._observed.current, self._observed.previous))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._manager.close()

    def logs(self, replica_id: str, lines: int = 100) -> str:
        """The last lines that the replica printed, over its restarts.

        Raises:
            UnknownReplica: Nothing of this id has run here.
        """
        return self._manager.logs(replica_id, lines)

    def report_stalled(self, replica_id: str, seconds: float) -> None:
        """A frontend's batch has been at this replica for ``seconds`` without an answer: over the limit it is killed.

        Raises:
            UnknownReplica: There is none of this id.
        """
        slot = self._slots.get(replica_id)
        if slot is None:
            raise UnknownReplica(f"There is no replica '{replica_id}'.")
        version = self._version_of(slot)
        if version is not None and slot.pid is not None and seconds >= version.spec.limits.hang_timeout_s:
            limit_s = version.spec.limits.hang_timeout_s
            self._manager.kill(
                replica_id, f"killed: a batch ran for {seconds:.1f} s (limits.hang_timeout_s is {limit_s:g})"
            )

    async def steer(self, measured: Measured) -> None:
        """Scale, promote and roll back by what the frontends measure; call it about once a second.

        A canary is over once the store has taken that, and is looked at again where it has not.
        """
        sight = Sight(self._snapshot.desired, self._observed, measured, self._clock(), self._wall_clock())
        steered = self._steering.steer(sight)
        if steered.observed != self._observed:
            log_scaling(self._observed, steered.observed)
            self._observed = steered.observed
            self._wake.set()
        for conclusion in steered.conclusions:
            try:
                await self._store.change(conclusion.edit)
            except StoreUnavailable as error:
                _log.warning("A canary cannot be ended now: %s", error)
                continue
            rollout = conclusion.rollout
            _log.info("The canary %s:%s is %s: %s", rollout.model, rollout.version, rollout.state, rollout.reason)
            rollouts = {**self._observed.rollouts, rollout.model: rollout}
            self._observed = self._observed.model_copy(update={"rollouts": rollouts})
            self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                wake_at_s = await self._reconcile()
            except Exception:  # noqa: BLE001  # one bad step must not end reconciling for good
                _log.exception("The controller failed at one step; it tries again.")
                wake_at_s = None
                self._wake.clear()  # at the interval, not in a busy loop
            pause_s = self._interval_s if wake_at_s is None else min(self._interval_s, wake_at_s - self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause_s)):
                    await self._wake.wait()

    async def _reconcile(self) -> float | None:
        """One step; returns when the next one is due even if nothing happens."""
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                self._snapshot = await self._store.snapshot()
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("The controller goes on with what it read before: %s", error or "the store is slow")
        desired = self._snapshot.desired
        for slot in [slot for slot in self._slots.values() if slot.pid == NO_PID and slot.replica_id in self._links]:
            problem = self._links[slot.replica_id].problem
            self._slots[slot.replica_id] = out_of_reach(slot, problem, self._clock())
        decision = decide(desired, self._observed, self._slots, self._clock(), self._timing)
        self._slots = dict(decision.slots)
        for action in decision.actions:
            self._carry_out(action)
        self._abandon([slot for slot in self._slots.values() if slot.phase in LEAVING])
        await self._report(decision.traffic)
        await self._tidy()
        return decision.wake_at_s

    def _carry_out(self, action: Action) -> None:
        match action:
            case Start(slot, version):
                self._spawn("start", self._start(slot, version))
            case Stop(replica_id):
                self._unwatch(replica_id)
                self._spawn("stop", self._manager.stop(replica_id, STOP_GRACE_S))
            case Kill(replica_id, reason):
                self._manager.kill(replica_id, reason)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("A replica could not be brought to %s.", task.get_name(), exc_info=task.exception())

    async def _start(self, slot: Slot, version: Version) -> None:
        try:
            running = await self._manager.start(ReplicaSpec(slot.replica_id, version, self._artifact_dir(version)))
        except NotPrepared as error:
            self._on_exit(Exit(slot.replica_id, error.message, error.last_words, load_failed=True))
            return
        except (OSError, ClipperError) as error:
            self._on_exit(Exit(slot.replica_id, f"could not be started: {str(error).rstrip('.')}", None))
            return
        now = self._slots.get(slot.replica_id)
        if now is not None and now.phase == "waiting":  # it ended before we came to know that it runs
            self._slots[slot.replica_id] = replace(now, address=running.address)
        elif now is not None:
            self._slots[slot.replica_id] = started(now, running)
            self._watch(slot.replica_id, running.address, version.spec.external)
        self._wake.set()

    def _artifact_dir(self, version: Version) -> Path:
        if version.digest is not None:
            return self._artifacts.path(version.digest)
        return self._artifacts.noop_path(version.spec.input_type)

    def _on_progress(self, replica_id: str, doing: str) -> None:
        self.news(replica_id, lambda slot: preparing(slot, doing, self._clock()))

    def _abandon(self, slots: Iterable[Slot]) -> None:
        """Nobody waits any longer for what is being prepared for these."""
        for slot in slots:
            if slot.doing is not None:
                self._manager.kill(slot.replica_id, "it is not wanted any more")

    def _watch(self, replica_id: str, address: str, external: External | None) -> None:
        self._unwatch(replica_id)
        connect = self._dial if external is None else external_dialler(self._loop, self._loop.time, external)
        self._links[replica_id] = connect(address, replica_id, Watcher(self))

    def _unwatch(self, replica_id: str) -> None:
        link = self._links.pop(replica_id, None)
        if link is not None:
            link.close()

    def _on_exit(self, end: Exit) -> None:
        self._unwatch(end.replica_id)
        slot = self._slots.pop(end.replica_id, None)
        if slot is not None:
            after = exited(slot, end, self._clock(), self._draw())
            if after is not None:
                _log.warning("The replica %s ended: %s.", end.replica_id, end.reason)
                self._slots[end.replica_id] = after
        self._wake.set()

    def news(self, replica_id: str, transition: Callable[[Slot], Slot]) -> None:
        """Something came over a replica's link; what did not change the slot wakes nobody."""
        before = self._slots.get(replica_id)
        if before is None:
            return
        after = transition(before)
        if after != before:
            self._slots[replica_id] = after
            self._wake.set()

    def now_s(self) -> float:
        """The controller's monotonic clock."""
        return self._clock()

    async def _report(self, traffic: Traffic) -> None:
        """Tell the store what is seen now; what it cannot take is told with the next step."""
        desired, before = self._snapshot.desired, self._observed
        observed = observe(desired, before, self._slots, traffic, self._manager.host_id, self._wall_clock())
        self._observed = observed
        log_changes(before, observed)
        if observed == self._reported:
            return
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await self._store.report(lambda _old: observed)
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("What the replicas do cannot be reported now: %s", error or "the store is slow")
        else:
            self._reported = observed

    async def _tidy(self) -> None:
        """Bound the logs and remove what no version refers to; an artifact stays while anything runs from it."""
        if self._clock() < self._tidy_at_s:
            return
        self._tidy_at_s = self._clock() + TIDY_INTERVAL_S
        versions = [version for versions in self._snapshot.desired.versions.values() for version in versions.values()]
        generations = {version.generation for version in versions} | {slot.generation for slot in self._slots.values()}
        await self._manager.tick(generations)
        if all(self._version_of(slot) is not None for slot in self._slots.values()):
            await self._artifacts.collect({version.digest for version in versions if version.digest is not None})

    def _version_of(self, slot: Slot) -> Version | None:
        version = self._snapshot.desired.version(slot.model, slot.version)
        return version if version is not None and version.generation == slot.generation else None

    def mismatch(self, link: Link) -> str | None:
        """Why an external container does not serve the version that was registered with it; None: it does."""
        slot = self._slots.get(link.replica_id)
        version = self._version_of(slot) if slot is not None else None
        external = version is not None and version.spec.external is not None
        return mismatch(version, link.hello, link.address) if external and version is not None else None
