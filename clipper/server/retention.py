"""Drops feedback that is older than it may be, and what is left of applications that are gone."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from clipper.errors import StoreUnavailable
from clipper.state.feedback import FeedbackStore
from clipper.state.store import Store

log = logging.getLogger(__name__)

INTERVAL_S: Final = 600.0


class Retention:
    """Prunes the feedback store now and then; one process of an installation does it.

    Args:
        store: Says which applications there are.
        feedback: What is pruned.
        retention_s: How long feedback is kept.
        interval_s: Between two looks.
        wall_clock: In seconds.
    """

    def __init__(
        self,
        store: Store,
        feedback: FeedbackStore,
        *,
        retention_s: float,
        interval_s: float = INTERVAL_S,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._feedback = feedback
        self._retention_s = retention_s
        self._interval_s = interval_s
        self._wall_clock = wall_clock

    async def run(self) -> None:
        """Look at every interval until cancelled. A store that fails is looked at again."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                removed = await self.prune()
            except StoreUnavailable as failure:
                log.warning("Old feedback was not dropped; the next look is in %g s: %s", self._interval_s, failure)
            else:
                if removed:
                    log.info("Dropped %d pieces of feedback whose time was over.", removed)

    async def prune(self) -> int:
        """Drop what is over now; how many records of the log went.

        Raises:
            StoreUnavailable: The store failed; what was dropped until then stays dropped.
        """
        # In this order: one that is made in between is not taken for one that is gone.
        known = await self._feedback.applications()
        desired = (await self._store.snapshot()).desired
        kept = {(name, desired.generations.get(name, 0)) for name in desired.applications}
        return await self._feedback.prune(self._wall_clock() - self._retention_s, known - kept)
