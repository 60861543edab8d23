"""Feedback on its way into the store: while one group is being committed, the next one gathers.

A durable transaction costs one wait for the disk, however many records it has. Committing whatever has gathered as soon
as the former group is done needs no delay to tune: alone, a record is committed at once; under load groups grow until
the disk keeps up.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from clipper.errors import ClipperError, InternalError, ShuttingDown, StoreUnavailable
from clipper.evidence import Evidence
from clipper.feedback import Committed, ContextKey, FeedbackRecord
from clipper.metrics import FeedbackMetrics
from clipper.state.feedback import FeedbackStore

log = logging.getLogger(__name__)

MAX_WAITING_RECORDS = 16_384
"""Beyond it feedback is refused, so that a disk that stalls costs a bounded amount of memory."""
MAX_GROUP_RECORDS = 2048
COMMIT_TIMEOUT_S = 10.0
"""How long a caller waits for the store before it is told to try again."""
RETRY_AFTER_S = 1.0


class _Entry(msgspec.Struct):
    """The records of one caller: committed together or not at all."""

    records: Sequence[FeedbackRecord]
    accepted: asyncio.Future[list[bool | None]]


class GroupCommit:
    """Commits records of many callers in groups.

    Args:
        store: Where to.
        metrics: Counts groups and failures.
        clock: Monotonic, in seconds.
        on_committed: Told of the evidence that a group left behind, before its callers are.
        max_waiting_records: How many may wait for their turn.
        timeout_s: See `commit`.
    """

    def __init__(
        self,
        store: FeedbackStore,
        *,
        metrics: FeedbackMetrics,
        clock: Callable[[], float],
        on_committed: Callable[[Mapping[ContextKey, Evidence]], None],
        max_waiting_records: int = MAX_WAITING_RECORDS,
        timeout_s: float = COMMIT_TIMEOUT_S,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._on_committed = on_committed
        self._max_waiting_records = max_waiting_records
        self._timeout_s = timeout_s
        self._waiting: deque[_Entry] = deque()
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self.pending_records = 0
        """Those that wait and those that are being committed."""

    def check_room(self, records: int) -> None:
        """Refuse what there is no room for, before any work goes into it.

        Raises:
            StoreUnavailable: Too many records wait already.
            ShuttingDown: It is closed.
        """
        if self._closed:
            raise ShuttingDown("The server is shutting down; send the feedback again.", retry_after_s=RETRY_AFTER_S)
        if self.pending_records + records > self._max_waiting_records:
            raise StoreUnavailable(
                f"{self.pending_records} pieces of feedback wait to be committed already, and the server keeps "
                f"{self._max_waiting_records} at most; send it again a little later.",
                retry_after_s=RETRY_AFTER_S,
            )

    async def commit(self, records: Sequence[FeedbackRecord]) -> list[bool | None]:
        """Commit the records in one transaction, perhaps with others'; see `Committed.accepted` for what is told.

        Whoever is cancelled here, or told after ``timeout_s`` that it takes too long, takes nothing back: the records
        are committed in their turn, and nobody else's with them is harmed.

        Raises:
            StoreUnavailable: Not committed, or not known to be: to be sent again, it counts once.
            ShuttingDown: It is closed.
        """
        self.check_room(len(records))
        entry = _Entry(records, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self.pending_records += len(records)
        if self._running is None:
            self._running = asyncio.create_task(self._commit_all(), name="feedback")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await entry.accepted
        except TimeoutError:
            raise StoreUnavailable(
                f"The store has not committed this feedback within {self._timeout_s:g} s. Send it again: by query_id, "
                "or with an update_id, it counts once.",
                retry_after_s=RETRY_AFTER_S,
            ) from None

    async def close(self, within_s: float) -> None:
        """Take nothing new, and wait so long for what was taken; nobody waits for it any more."""
        self._closed = True
        if self._running is not None:
            await asyncio.wait([self._running], timeout=within_s)

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                await self._commit_group(self._next_group())
        finally:
            self._running = None

    def _next_group(self) -> list[_Entry]:
        group = [self._waiting.popleft()]
        size = len(group[0].records)
        while self._waiting and size + len(self._waiting[0].records) <= MAX_GROUP_RECORDS:
            group.append(self._waiting.popleft())
            size += len(group[-1].records)
        return group

    async def _commit_group(self, group: list[_Entry]) -> None:
        records = [record for entry in group for record in entry.records]
        started_s = self._clock()
        try:
            committed = await self._store.commit(records)
        except ClipperError as failure:
            self._metrics.failed_commits += 1
            _fail(group, failure)
        except Exception:
            self._metrics.failed_commits += 1
            log.exception("A group of %d pieces of feedback could not be committed.", len(records))
            if len(group) > 1:  # Whatever is wrong with one record must not cost the others.
                for entry in group:
                    await self._commit_group([entry])
                return
            _fail(group, InternalError("The server failed to commit this feedback; its log has the details."))
        else:
            self._metrics.commit_s.observe(self._clock() - started_s)
            self._metrics.group_size.observe(len(records))
            self._accept(group, committed)
        self.pending_records -= len(records)

    def _accept(self, group: list[_Entry], committed: Committed) -> None:
        try:
            self._on_committed(committed.evidence)
        except Exception:
            # It is committed, and will be read from the store again; its callers must hear of it.
            log.exception("The evidence of committed feedback could not be taken over.")
        start = 0
        for entry in group:
            end = start + len(entry.records)
            if not entry.accepted.done():  # its caller may be gone
                entry.accepted.set_result(committed.accepted[start:end])
            start = end


def _fail(group: list[_Entry], failure: ClipperError) -> None:
    for entry in group:
        if not entry.accepted.done():
            entry.accepted.set_exception(failure)
