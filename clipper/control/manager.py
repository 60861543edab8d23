"""What starts and ends replicas on one host: processes now, Docker later."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clipper.domain import Version
from clipper.errors import ClipperError


@dataclass(frozen=True)
class ReplicaSpec:
    """What to start: a replica of ``version``, whose unpacked artifact is at ``artifact_dir``."""

    replica_id: str
    version: Version
    artifact_dir: Path


@dataclass(frozen=True)
class Running:
    """What runs. ``pid_created_at`` (seconds since the epoch) tells the process from a later one with its pid."""

    replica_id: str
    model: str
    version: str
    generation: int
    address: str
    pid: int
    pid_created_at: float


@dataclass(frozen=True)
class Exit:
    """How a replica ended: a sentence, and the end of what it printed.

    ``load_failed`` says that its model could not be loaded: it will seldom load the next time.
    """

    replica_id: str
    reason: str
    last_words: str | None
    load_failed: bool = False


class NotPrepared(ClipperError):
    """What a replica needs before it can start cannot be had: it will seldom be there the next time.

    ``last_words`` is the end of what was said while it was made.
    """

    def __init__(self, message: str, *, last_words: str | None = None) -> None:
        super().__init__(message)
        self.last_words = last_words


class ReplicaManager(Protocol):
    """Starts, ends and finds the replicas of one installation on one host. Replicas outlive their manager."""

    host_id: str
    on_exit: Callable[[Exit], None]
    """Called in the event loop, once for each replica that was started or adopted and has ended, for any reason."""
    on_progress: Callable[[str, str], None]
    """Called in the event loop with a replica's id and what is done before it can start (``installing numpy==2.4``)."""

    async def start(self, spec: ReplicaSpec) -> Running:
        """Start a replica; it becomes ready later.

        What it needs before (an environment, an image) may take minutes: ``on_progress`` tells, ``kill`` ends it.

        Raises:
            OSError: The host cannot start it (no memory, no such program).
            NotPrepared: What it needs cannot be had; the sentence says why.
        """
        ...

    async def adopt(self) -> list[Running]:
        """Take over the replicas of this installation that an earlier server left running."""
        ...

    async def stop(self, replica_id: str, grace_s: float) -> None:
        """Ask the replica to finish what it has and end; kill it after ``grace_s``. Returns when it has ended."""
        ...

    def kill(self, replica_id: str, reason: str) -> None:
        """End the replica at once; its `Exit` has this reason. One that is still being prepared will not start."""
        ...

    def logs(self, replica_id: str, lines: int) -> str:
        """The last lines that the replica printed, over its restarts.

        Raises:
            UnknownReplica: Nothing of this id has run here.
        """
        ...

    async def tick(self, generations: Collection[int]) -> None:
        """Periodic housekeeping: bounds the logs and removes those of versions not among ``generations``."""
        ...

    async def close(self) -> None:
        """Let go of the replicas without ending them."""
        ...
