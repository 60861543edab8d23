"""What the admin API works with."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from clipper.control.artifacts import ArtifactStore
from clipper.domain import Snapshot
from clipper.settings import Settings
from clipper.state.feedback import FeedbackStore
from clipper.state.store import DesiredEdit, Store


class ReplicaLogs(Protocol):
    """The part of the controller that the admin API asks."""

    def logs(self, replica_id: str, lines: int) -> str:
        """The last lines that the replica printed. Reads a file: not for the event loop.

        Raises:
            UnknownReplica: Nothing of this id has run here.
        """
        ...


class EngineStatus(Protocol):
    """What this server's engine measures."""

    def status(self) -> Mapping[str, Any]:
        """``{"ready": bool, "reason": str, "applications": {name: {...}}, "versions": {"model:version": {...}}}``.

        The inner dicts have the fields of `ApplicationMeasurements` and `VersionMeasurements`; others pass through.
        """
        ...


@dataclass(frozen=True)
class AdminContext:
    """Everything behind the admin API.

    ``in_effect`` waits, within bounds, until this server's frontend serves a revision: whoever has registered an
    application and is answered can query it. ``addresses`` says where this server listens: ``query`` and ``admin`` as
    URLs, ``grpc`` as ``host:port`` or None.
    """

    settings: Settings
    store: Store
    feedback: FeedbackStore
    artifacts: ArtifactStore
    controller: ReplicaLogs
    engine: EngineStatus
    addresses: Callable[[], Mapping[str, str | None]]
    in_effect: Callable[[int], Awaitable[None]]
    wall_clock: Callable[[], float] = time.time

    async def change(self, edit: DesiredEdit) -> Snapshot:
        """Make a change, and wait until it is in effect here.

        Raises:
            ClipperError: What ``edit`` raised, or `StoreUnavailable`; nothing has changed.
        """
        snapshot = await self.store.change(edit)
        await self.in_effect(snapshot.revision)
        return snapshot


def _context_of(request: Request) -> AdminContext:
    context: AdminContext = request.app.state.context
    return context


Context = Annotated[AdminContext, Depends(_context_of)]
