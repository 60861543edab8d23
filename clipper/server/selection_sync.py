"""Keeps what this frontend knows of feedback at what the store knows: other frontends take feedback too."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from clipper.engine.selection import Selection
from clipper.errors import StoreUnavailable

log = logging.getLogger(__name__)

POLL_S: Final = 0.25
"""How old may be what this frontend knows of the others' feedback. Its own is in effect once it is committed."""


class SelectionSync:
    """Polls the store for changed evidence. A store that fails costs freshness, never predictions."""

    def __init__(self, selection: Selection, *, clock: Callable[[], float], interval_s: float = POLL_S) -> None:
        self._selection = selection
        self._clock = clock
        self._interval_s = interval_s
        self._confirmed_s: float | None = None
        self._failing = False

    def staleness_s(self) -> float | None:
        """How long ago the store was last read; None before the first time."""
        return None if self._confirmed_s is None else self._clock() - self._confirmed_s

    async def run(self) -> None:
        """Follow the store until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.catch_up()

    async def catch_up(self) -> None:
        """Read what has changed since the last time."""
        try:
            await self._selection.refresh()
        except Exception as failure:
            # Whatever it is, the next look may succeed; what is known so far goes on deciding.
            if not self._failing:
                expected = isinstance(failure, StoreUnavailable)
                log.warning(
                    "The store's evidence cannot be read; selection goes on with what is known: %s",
                    failure,
                    exc_info=None if expected else failure,
                )
            self._failing = True
            return
        if self._failing:
            log.info("The evidence is up to date again.")
        self._failing = False
        self._confirmed_s = self._clock()
