"""One feedback as it is logged and committed: what was asked, what answered, what was right."""

from typing import Any

import msgspec

from clipper.evidence import Evidence

ApplicationKey = tuple[str, int]
"""(name, generation): an application that was deleted and made again is another one."""

ContextKey = tuple[str, int, str]
"""(name, generation, uid); the uid "" is the context that all users share."""


class FeedbackRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the feedback log, and the change of the evidence that it stands for.

    ``feedback_id`` makes it count once: the nonce of the query's token, a digest of the ``update_id``, or random bytes.
    ``models`` are the ``model:version`` that were asked; ``arms``, ``propensities`` (of the choice; 1 for members of
    an ensemble), ``outputs`` and ``losses`` go with them in order, with None where an output did not come or is not
    known any more; a chosen model that raised or was late has the loss 1 all the same. Outputs and the label are JSON
    values. ``full_information`` tells feedback by input, whose models were all asked afterwards, from feedback on a
    choice.
    """

    application: str
    generation: int
    feedback_id: bytes
    accepted_at: float
    answered_at: float
    full_information: bool
    policy: str
    models: tuple[str, ...]
    arms: tuple[str, ...]
    propensities: tuple[float, ...]
    outputs: tuple[Any, ...]
    losses: tuple[float | None, ...]
    label: Any
    change: dict[str, dict[str, float]]
    half_life_feedbacks: float | None = None
    uid: str | None = None
    query_id: str | None = None
    answer: Any = None
    answer_loss: float | None = None
    default: bool = False
    input_digest: bytes = b""
    input: bytes | None = None
    positions: tuple[int, ...] = ()

    @property
    def contexts(self) -> tuple[ContextKey, ...]:
        """The contexts whose evidence it changes; ``positions`` goes with them once it is committed."""
        shared = (self.application, self.generation, "")
        return (shared,) if self.uid is None else (shared, (self.application, self.generation, self.uid))


class Committed(msgspec.Struct):
    """What came of a group of records, and the evidence afterwards of every context touched.

    ``accepted``: True where a record was new, False where it was there before, None where its person was erased since.
    """

    accepted: list[bool | None]
    evidence: dict[ContextKey, Evidence]
