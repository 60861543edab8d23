"""Keeps the engine at the store's revision: on a notification and periodically."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from clipper.engine import Engine
from clipper.errors import StoreUnavailable
from clipper.state.store import Store

log = logging.getLogger(__name__)


class SnapshotSync:
    """Compares revisions and applies newer snapshots. A store that fails costs freshness, never predictions."""

    def __init__(self, store: Store, engine: Engine, *, interval_s: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._engine = engine
        self._interval_s = interval_s
        self._clock = clock
        self._changed = asyncio.Event()
        self._applied = asyncio.Condition()
        self._confirmed_s: float | None = None
        self._failing = False

    def staleness_s(self) -> float | None:
        """How long ago the store last confirmed that this frontend is up to date; None before the first time."""
        return None if self._confirmed_s is None else self._clock() - self._confirmed_s

    async def reached(self, revision: int) -> None:
        """Wait until the engine serves ``revision`` or a later one: whoever made a change then finds it in effect.

        Gives up after one interval of reconciliation; the change is made, and follows.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval_s), self._applied:
                await self._applied.wait_for(lambda: (self._engine.revision or 0) >= revision)

    def look(self) -> None:
        """The store may have changed: compare revisions now."""
        self._changed.set()

    async def run(self) -> None:
        """Follow the store until cancelled."""
        unsubscribe = self._store.subscribe(self._changed.set)
        try:
            while True:
                self._changed.clear()
                await self.catch_up()
                with contextlib.suppress(TimeoutError):  # not wait_for: it eats a cancellation that a change meets
                    async with asyncio.timeout(self._interval_s):
                        await self._changed.wait()
        finally:
            unsubscribe()

    async def catch_up(self) -> None:
        """Apply the newest snapshot if it is newer than what is served."""
        try:
            if await self._store.revision() != self._engine.revision:
                self._engine.apply(await self._store.snapshot())
                async with self._applied:
                    self._applied.notify_all()
        except StoreUnavailable as failure:
            if not self._failing:
                log.warning("The store does not answer; serving continues as configured so far: %s", failure)
            self._failing = True
            return
        except Exception:
            # A snapshot that cannot be applied must not end following the store: the next one may be good.
            log.exception("The configuration could not be applied; serving continues as configured so far.")
            self._failing = True
            return
        if self._failing:
            log.info("The configuration is up to date again.")
        self._failing = False
        self._confirmed_s = self._clock()
