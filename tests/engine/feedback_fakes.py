"""A hand-written store at the seam between the engine and the feedback store, and records to commit."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clipper.evidence import Evidence
from clipper.feedback import Committed, ContextKey, FeedbackRecord

APP = ("digits", 3)


def record(number: int, **fields: Any) -> FeedbackRecord:
    values: dict[str, Any] = {
        "application": APP[0],
        "generation": APP[1],
        "feedback_id": b"%d" % number,
        "accepted_at": 1000.0,
        "answered_at": 999.0,
        "full_information": False,
        "policy": "exp3",
        "models": ("svm:1",),
        "arms": ("svm",),
        "propensities": (0.5,),
        "outputs": (number,),
        "losses": (1.0,),
        "label": 0,
        "change": {"svm": {"plays": 1.0}},
    }
    return FeedbackRecord(**(values | fields))


@dataclass
class FakeFeedbackStore:
    """Keeps what it is given; a held one commits when it is told to, a failing one raises."""

    records: dict[tuple[str, int, bytes], FeedbackRecord] = field(default_factory=dict)
    known: dict[ContextKey, Evidence] = field(default_factory=dict)
    groups: list[int] = field(default_factory=list)
    failure: Exception | None = None
    poison: bytes | None = None
    erased: set[str | None] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def token_key(self) -> bytes:
        return b"k" * 32

    async def commit(self, records: Sequence[FeedbackRecord]) -> Committed:
        self.groups.append(len(records))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if any(one.feedback_id == self.poison for one in records):
            raise TypeError("poison")
        accepted = [self._take(one) for one in records]
        touched = {context for one in records for context in one.contexts}
        return Committed(
            accepted, {context: self.known[context].copy() for context in touched if context in self.known}
        )

    def _take(self, one: FeedbackRecord) -> bool | None:
        if one.uid in self.erased:
            return None
        key = (one.application, one.generation, one.feedback_id)
        if key in self.records:
            return False
        self.records[key] = one
        for context in one.contexts:
            self.known.setdefault(context, Evidence()).add(one.change, one.half_life_feedbacks)
        return True

    async def evidence(self, contexts: Sequence[ContextKey]) -> dict[ContextKey, Evidence]:
        return {context: self.known[context].copy() for context in contexts if context in self.known}
