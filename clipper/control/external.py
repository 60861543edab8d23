"""Containers that somebody else runs: dialled and watched, never started nor ended."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace

from clipper.control.manager import Exit, ReplicaManager, ReplicaSpec, Running
from clipper.control.slots import Slot
from clipper.errors import UnknownReplica

PATIENCE_S = 3.0
"""So long after it was lost, or registered, a container may be out of reach before its version counts as failed."""
NO_PID = 0


class WithExternal:
    """A `ReplicaManager` that leaves everything but external containers to another one.

    To start an external replica is to know its address; to end it is to let go of it.
    """

    def __init__(self, manager: ReplicaManager) -> None:
        self.host_id = manager.host_id
        self._manager = manager
        self._loop = asyncio.get_running_loop()
        self._known: set[str] = set()

    @property
    def on_exit(self) -> Callable[[Exit], None]:
        """See `ReplicaManager`."""
        return self._manager.on_exit

    @on_exit.setter
    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._manager.on_exit = callback

    @property
    def on_progress(self) -> Callable[[str, str], None]:
        """See `ReplicaManager`."""
        return self._manager.on_progress

    @on_progress.setter
    def on_progress(self, callback: Callable[[str, str], None]) -> None:
        self._manager.on_progress = callback

    async def start(self, spec: ReplicaSpec) -> Running:
        """See `ReplicaManager`."""
        external, version = spec.version.spec.external, spec.version
        if external is None:
            return await self._manager.start(spec)
        self._known.add(spec.replica_id)
        return Running(
            spec.replica_id, *version.key, version.generation, external.address, pid=NO_PID, pid_created_at=0.0
        )

    async def adopt(self) -> list[Running]:
        """See `ReplicaManager`. External containers are found by their address in the store."""
        return await self._manager.adopt()

    async def stop(self, replica_id: str, grace_s: float) -> None:
        """See `ReplicaManager`."""
        if replica_id in self._known:
            self._let_go(replica_id, "let go")
        else:
            await self._manager.stop(replica_id, grace_s)

    def kill(self, replica_id: str, reason: str) -> None:
        """See `ReplicaManager`."""
        if replica_id in self._known:
            self._loop.call_soon(self._let_go, replica_id, reason)
        else:
            self._manager.kill(replica_id, reason)

    def logs(self, replica_id: str, lines: int) -> str:
        """See `ReplicaManager`."""
        if replica_id in self._known:
            raise UnknownReplica(f"'{replica_id}' is run by somebody else; its logs are where it runs.")
        return self._manager.logs(replica_id, lines)

    async def tick(self, generations: Collection[int]) -> None:
        """See `ReplicaManager`."""
        await self._manager.tick(generations)

    async def close(self) -> None:
        """See `ReplicaManager`."""
        self._known.clear()
        await self._manager.close()

    def _let_go(self, replica_id: str, reason: str) -> None:
        if replica_id in self._known:
            self._known.discard(replica_id)
            self.on_exit(Exit(replica_id, reason, None))


def out_of_reach(slot: Slot, problem: str | None, now_s: float) -> Slot:
    """The slot of an external replica to which there is no connection, for this reason. Pure.

    Its link dials on; what is known of it meanwhile is the reason.
    """
    if problem is None or slot.phase != "starting" or (not slot.load_failed and now_s < slot.since_s + PATIENCE_S):
        return slot
    # Since when it is out of reach moves on with each look, so that its time to start is never over.
    return replace(slot, load_failed=True, reason=problem, since_s=now_s)
