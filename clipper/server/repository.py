"""Carries out what callers of the Open Inference Protocol ask of the repository, in the process of the controller."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial

from clipper.control import repository
from clipper.domain import Desired, Snapshot
from clipper.engine import Engine
from clipper.engine.load import VersionKey
from clipper.engine.status import FrontendView
from clipper.errors import Conflict, NoModelReady, ShuttingDown
from clipper.settings import Settings
from clipper.state.store import Store
from clipper_frontends.oip.repository import Change, check_access

WAIT_S = 50.0
"""A client's own patience is usually a minute: it is to get a sentence instead of a broken connection."""
LOOK_S = 0.02


class RepositoryControl:
    """See `clipper_frontends.oip.repository.Repository`.

    Args:
        settings: Of the server.
        store: Where changes are made.
        engine: Of the frontend in this process.
        views: Where all frontends of this server are, and the revision that the last of them serves.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        engine: Engine,
        views: Callable[[], tuple[int, Sequence[FrontendView]]],
    ) -> None:
        self._token = settings.admin_token.get_secret_value() if settings.admin_token else None
        self._is_open = settings.oip_repository == "open"
        self._store = store
        self._engine = engine
        self._views = views

    async def carry_out(self, change: Change) -> None:
        """As of the protocol.

        Raises:
            Unauthenticated, Forbidden: The caller may not.
            UnknownModel, UnknownVersion: There is none of this name.
            InvalidRequest: The name is an application's.
            Conflict: Nothing can be loaded, or somebody else has stopped it again.
            NoModelReady: It failed, or is not done within `WAIT_S`; it goes on all the same.
            StoreUnavailable: Nothing has changed.
        """
        check_access(change, self._token, is_open=self._is_open)
        await (self._load(change) if change.action == "load" else self._unload(change))

    async def _load(self, change: Change) -> None:
        before = await self._store.snapshot()
        version = repository.version_to_load(before.desired, before.observed, change.model, change.version)
        snapshot = await self._store.change(lambda d, _revision: repository.load(d, change.model, version))
        key = (change.model, version)
        await self._settled(
            snapshot.revision,
            partial(_has_traffic, key),
            f"The version '{version}' of the model '{change.model}' is not ready after {WAIT_S:g} s; it goes on "
            "loading.",
            partial(_check_loading, key, snapshot.desired),
        )

    async def _unload(self, change: Change) -> None:
        snapshot = await self._store.change(lambda d, _revision: repository.unload(d, change.model, change.version))
        names = [change.version] if change.version is not None else snapshot.desired.versions.get(change.model, {})
        await self._settled(
            snapshot.revision,
            partial(_is_gone, {(change.model, name) for name in names}),
            f"The model '{change.model}' is not unloaded after {WAIT_S:g} s; it goes on unloading.",
            lambda _snapshot: None,
        )

    async def _settled(
        self,
        revision: int,
        is_done: Callable[[FrontendView], bool],
        late: str,
        check: Callable[[Snapshot], None],
    ) -> None:
        """Wait until every frontend serves the revision and is where it shall be; ``check`` raises what prevents it."""
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    served, views = self._views()
                    if served >= revision:
                        if all(map(is_done, views)):
                            return
                        check(self._engine.snapshot)
                    if self._engine.draining:
                        raise ShuttingDown("The server is shutting down; ask another one.", retry_after_s=1.0)
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise NoModelReady(late, retry_after_s=1.0) from None


def _has_traffic(key: VersionKey, view: FrontendView) -> bool:
    return key in view.serving and key in view.traffic


def _is_gone(keys: Collection[VersionKey], view: FrontendView) -> bool:
    return not any(key in view.serving or key in view.traffic for key in keys)


def _check_loading(key: VersionKey, wanted: Desired, snapshot: Snapshot) -> None:
    """What keeps a version from ever getting its traffic.

    Raises:
        Conflict: Somebody else has stopped or replaced it since ``wanted``.
        NoModelReady: It failed.
    """
    model, name = key
    asked, now = wanted.version(*key), snapshot.desired.version(*key)
    what = f"The version '{name}' of the model '{model}'"
    if asked is None or now is None or now.generation != asked.generation or not now.wanted:
        raise Conflict(f"{what} was stopped by somebody else while it was loaded.")
    if snapshot.desired.models[model].target != name:
        raise Conflict(f"{what} was replaced by somebody else while it was loaded.")
    status = snapshot.observed.statuses.get(model, {}).get(name)
    if status is not None and status.generation == now.generation and status.state == "failed":
        raise NoModelReady(f"{what} could not be loaded: {status.reason or 'it failed'}", retry_after_s=1.0)
