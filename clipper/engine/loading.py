"""Users that are not held here are read from the store in the background; nobody's answer waits long for it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from clipper.abstraction.timers import Timers
from clipper.engine.due import DueQueue
from clipper.engine.held import HeldEvidence
from clipper.errors import StoreUnavailable
from clipper.feedback import ContextKey
from clipper.state.feedback import FeedbackStore

log = logging.getLogger(__name__)

MAX_USERS_PER_READ: Final = 512
MAX_WANTED_USERS: Final = 16_384
"""More are not asked for at a time; their queries are answered by what everybody's feedback says."""

READ_TIMEOUT_S: Final = 5.0
PAUSE_S: Final = 0.5
"""After a read that failed nobody waits for the store for so long."""


class _Wait:
    """Of one query for its user. It ends once, whether the user came or not."""

    __slots__ = ("proceed", "waiting")

    def __init__(self, proceed: Callable[[], None]) -> None:
        self.proceed = proceed
        self.waiting = True

    def end(self) -> None:
        if self.waiting:
            self.waiting = False
            self.proceed()


class UserLoading:
    """Reads users in groups: while one group is being read, the next one gathers.

    Args:
        store: Where the users are.
        held: Where they are put.
        timers: Clock and timers.
        spawn: Runs a coroutine in the background.
    """

    def __init__(
        self,
        store: FeedbackStore,
        held: HeldEvidence,
        timers: Timers,
        spawn: Callable[..., asyncio.Task[None]] = asyncio.create_task,
    ) -> None:
        self._store = store
        self._held = held
        self._now = timers.now
        self._spawn = spawn
        self._due: DueQueue[_Wait] = DueQueue(timers, _Wait.end)
        self._wanted: dict[ContextKey, list[_Wait]] = {}
        self._reading: dict[ContextKey, list[_Wait]] = {}
        self._task: asyncio.Task[None] | None = None
        self._paused_until_s = 0.0
        self.failures = 0

    def wait(self, context: ContextKey, until_s: float, proceed: Callable[[], None]) -> None:
        """Call ``proceed`` once: when the user is held, or at ``until_s``; at once where there is no hope."""
        waiting = self._reading.get(context) or self._wanted.get(context)
        if waiting is None and (len(self._wanted) >= MAX_WANTED_USERS or self._now() < self._paused_until_s):
            proceed()
            return
        wait = _Wait(proceed)
        if waiting is not None:
            waiting.append(wait)
        else:
            self._wanted[context] = [wait]
        self._due.push(until_s, wait)
        if self._task is None:
            self._task = self._spawn(self._read_all())

    def close(self) -> None:
        """Stop reading; everybody proceeds as things are."""
        if self._task is not None:
            self._task.cancel()
        self._due.close()
        waits = [wait for group in (self._reading, self._wanted) for several in group.values() for wait in several]
        self._reading, self._wanted = {}, {}
        for wait in waits:
            wait.end()

    async def _read_all(self) -> None:
        try:
            while self._wanted:
                self._reading = self._next_group()
                await self._read(list(self._reading))
                came, self._reading = self._reading, {}
                for waits in came.values():
                    for wait in waits:
                        wait.end()
        finally:
            self._task = None

    def _next_group(self) -> dict[ContextKey, list[_Wait]]:
        contexts = list(self._wanted)[:MAX_USERS_PER_READ]
        return {context: self._wanted.pop(context) for context in contexts}

    async def _read(self, contexts: list[ContextKey]) -> None:
        begun_anew = self._held.begun_anew
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                found = await self._store.evidence(contexts)
        except Exception as failure:
            # Whatever is wrong with the store, queries are answered; and nobody waits for it for a while.
            self.failures += 1
            self._paused_until_s = self._now() + PAUSE_S
            expected = isinstance(failure, StoreUnavailable | TimeoutError)
            log.warning(
                "Users cannot be read from the store; for %g s everybody's feedback decides for them: %s",
                PAUSE_S,
                failure,
                exc_info=None if expected else failure,
            )
        else:
            if self._held.begun_anew != begun_anew:
                return  # Whom this was about may be erased by now; the next query of each user reads again.
            self._held.put(found)
            self._held.put_unknown(context for context in contexts if context not in found)
