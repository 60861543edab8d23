"""What the selection of all applications of one frontend shares."""

import itertools
import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from clipper.abstraction.timers import Timers
from clipper.engine.held import HeldEvidence
from clipper.engine.loading import UserLoading
from clipper.engine.outputs import OutputMemory
from clipper.engine.token import NONCE_BYTES, TokenKey
from clipper.evidence import Evidence
from clipper.feedback import ApplicationKey, ContextKey
from clipper.state.feedback import Changes, FeedbackStore

COUNTER_BYTES: Final = 5


class Selection:
    """Evidence, users, outputs kept for feedback, the key of query ids, and chance.

    Without a ``store`` nothing is known but what is put here, and query ids of learning applications are as cheap, and
    as useless for feedback, as those of others. So they are until the store has given its key.

    Args:
        timers: Clock and timers.
        store: Where evidence and the key are.
        margin_s: Kept below the SLO for the reply.
        chance: A number in [0, 1), drawn anew at each call.
        wall_clock: In seconds.
        max_user_bytes: What users held here may take.
        max_output_bytes: What outputs kept for feedback may take.
    """

    def __init__(
        self,
        timers: Timers,
        store: FeedbackStore | None = None,
        *,
        margin_s: float = 0.001,
        chance: Callable[[], float] = random.random,
        wall_clock: Callable[[], float] = time.time,
        max_user_bytes: int = 128 << 20,
        max_output_bytes: int = 64 << 20,
    ) -> None:
        self.timers = timers
        self.margin_s = margin_s
        self.chance = chance
        self.wall_clock = wall_clock
        self.held = HeldEvidence(max_user_bytes)
        self.outputs = OutputMemory(max_output_bytes)
        self.loading = None if store is None else UserLoading(store, self.held, timers)
        self.token_key: TokenKey | None = None
        self.late_members = 0
        """Members of ensembles whose output is waited for though the answer is out: it is of use to feedback."""
        self._store = store
        self._sequence = -1
        self._applications: dict[ApplicationKey, None] = {}
        self._unread: set[ApplicationKey] = set()
        self._nonce_prefix = secrets.token_bytes(NONCE_BYTES - COUNTER_BYTES)
        self._counter = itertools.count()

    def nonce(self) -> bytes:
        """12 bytes that no other query has: random ones of this process, and a counter. No system call."""
        return self._nonce_prefix + next(self._counter).to_bytes(COUNTER_BYTES, "big")

    def put(self, evidence: Mapping[ContextKey, Evidence]) -> None:
        """Take over what a commit of this frontend left behind."""
        self.held.put(evidence)

    def serve(self, applications: Iterable[ApplicationKey]) -> bool:
        """These applications are served from now on; whether evidence of any of them is to be read (`refresh`)."""
        served = dict.fromkeys(applications)
        self._unread = {key for key in served if key not in self._applications or key in self._unread}
        self._applications = served
        self.held.retain(served)
        return bool(self._unread)

    async def refresh(self) -> None:
        """Read the key, and the evidence that other frontends changed or that is not held yet.

        Raises:
            StoreUnavailable: The store cannot be read now; what is held stays.
        """
        store = self._store
        if store is None:
            return
        if self.token_key is None:
            self.token_key = TokenKey(await store.token_key())
        changes = await store.changes(self._sequence)
        if changes.everything:
            await self._read_everything(store)
        else:
            await self._read_changed(store, changes)
        self._sequence = changes.sequence

    def describe(self) -> dict[str, int]:
        """What is held in memory."""
        return {
            "users": self.held.users,
            "user_bytes": self.held.user_bytes,
            "outputs": len(self.outputs),
            "output_bytes": self.outputs.size_bytes,
            "outputs_evicted": self.outputs.evicted,
        }

    def close(self) -> None:
        """Let go of what is under way in the background."""
        if self.loading is not None:
            self.loading.close()

    async def _read_everything(self, store: FeedbackStore) -> None:
        applications = tuple(self._applications)
        evidence = await store.evidence([(*application, "") for application in applications])
        self.held.replace(evidence, applications)
        self._unread.difference_update(applications)

    async def _read_changed(self, store: FeedbackStore, changes: Changes) -> None:
        unread = tuple(self._unread)
        contexts = {*self.held.held_of(changes.contexts), *((*application, "") for application in unread)}
        if contexts:
            self.held.put(await store.evidence(sorted(contexts)))
        self._unread.difference_update(unread)
