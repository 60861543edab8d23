"""What feedback is answered with."""

from dataclasses import dataclass

from clipper.errors import ClipperError


@dataclass(frozen=True, slots=True)
class Rejected:
    """One piece of feedback that was not accepted: its place in the list, and why."""

    index: int
    error: ClipperError


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """What came of a list of feedback: how many pieces are committed, and which are not."""

    accepted: int
    rejected: tuple[Rejected, ...] = ()
