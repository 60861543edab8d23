"""What a store can do with feedback."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from clipper.evidence import Evidence
from clipper.feedback import ApplicationKey, Committed, ContextKey, FeedbackRecord


class Changes(msgspec.Struct):
    """Contexts whose evidence changed, by whichever frontend, up to the log's ``sequence``.

    ``everything``: too much changed, or a person was erased; read again whatever is held.
    """

    sequence: int
    contexts: set[ContextKey] = set()
    everything: bool = False


class Page(msgspec.Struct):
    """Some records of the log in order, and where to go on; None at its end."""

    records: list[FeedbackRecord]
    next_sequence: int | None


class FeedbackStore(Protocol):
    """Evidence and the feedback log. Every method raises `StoreUnavailable` when the store cannot do it now.

    Cancelling a call does not undo what is already on its way.
    """

    async def token_key(self) -> bytes:
        """32 random bytes of this installation, drawn once: they authenticate query ids."""
        ...

    async def commit(self, records: Sequence[FeedbackRecord]) -> Committed:
        """Log the records and add their changes, each exactly once, in one durable transaction.

        A record whose ``feedback_id`` was seen before is left out; of two equal ones in ``records`` the first counts.
        One that was answered before its person was erased is left out too: it would bring the person back.
        """
        ...

    async def evidence(self, contexts: Sequence[ContextKey]) -> dict[ContextKey, Evidence]:
        """What is known in these contexts; one without feedback is missing from the answer."""
        ...

    async def changes(self, after_sequence: int) -> Changes:
        """What changed since. Cheap enough to be asked several times a second. A negative sequence means everything."""
        ...

    async def log(
        self, application: ApplicationKey, *, since: float = 0.0, until: float | None = None, after_sequence: int = 0
    ) -> Page:
        """A page of the log of one application, by the time of acceptance, oldest first."""
        ...

    async def applications(self) -> set[ApplicationKey]:
        """All of which there is evidence; some of them may be deleted by now."""
        ...

    async def prune(self, before: float, gone: Collection[ApplicationKey] = ()) -> int:
        """Drop what was accepted before that time, and all of the applications in ``gone``; how many records went."""
        ...

    async def erase_uid(self, uid: str) -> int:
        """Remove a person from evidence and log, in every application; how many records went."""
        ...
