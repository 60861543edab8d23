"""One query's interest in one model version's answer: the unit that the abstraction layer resolves exactly once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from clipper.errors import ClipperError

if TYPE_CHECKING:
    from clipper.abstraction.flight import Flight


class Trace(msgspec.Struct, gc=False):
    """What happened to one batch; shared by all of its calls. Times in seconds on the injected clock."""

    batch_size: int
    replica_id: str
    dispatched_s: float
    run_s: float = 0.0
    wait_s: float = 0.0
    attempts: int = 1


class Call:
    """A call is answered, refused, expired or failed by one ``on_result(call)``, or cancelled by its owner in silence.

    ``output`` is the model's answer as a JSON fragment, ``error`` the reason why there is none; exactly one of them is
    set when ``on_result`` runs. ``on_result`` may run inside ``submit`` (cache hit, refusal) and must not raise.
    Subclasses override ``on_result`` or pass it; `flight` belongs to the abstraction layer.
    """

    __slots__ = (
        "cached",
        "coalesced",
        "deadline_s",
        "error",
        "flight",
        "on_result",
        "output",
        "row",
        "submitted_s",
        "trace",
    )

    def __init__(self, row: bytes, submitted_s: float, deadline_s: float, on_result: Callable[[Any], None]) -> None:
        self.row = row
        self.submitted_s = submitted_s
        self.deadline_s = deadline_s
        self.on_result = on_result
        self.flight: Flight | None = None
        self.output: bytes | None = None
        self.error: ClipperError | None = None
        self.cached = False
        self.coalesced = False
        self.trace: Trace | None = None
