"""The engine's side of one query under way."""

from collections.abc import Callable

from clipper.abstraction.call import Call
from clipper.abstraction.served import ServedVersion
from clipper.domain import Query
from clipper.engine.answer import Answer
from clipper.engine.application import ServedApplication


class Ticket(Call):
    """A query that one model answers: the call to that model and the way back to the caller.

    ``served`` is the version that was asked (None: nothing was); ``resolved`` turns true once, with the answer or the
    cancellation.
    """

    __slots__ = ("app", "on_answer", "query", "resolved", "served")

    def __init__(
        self,
        query: Query,
        deadline_s: float,
        on_result: Callable[["Ticket"], None],
        on_answer: Callable[[Answer], None],
        app: ServedApplication | None,
    ) -> None:
        # Call.__init__ written out: one is made for every query, and the second call costs a tenth of a microsecond.
        self.row = query.row
        self.submitted_s = query.arrived_s
        self.deadline_s = deadline_s
        self.on_result = on_result
        self.flight = None
        self.output = None
        self.error = None
        self.cached = False
        self.coalesced = False
        self.trace = None
        self.query = query
        self.on_answer = on_answer
        self.app = app
        self.served: ServedVersion | None = None
        self.resolved = False

    def withdraw(self) -> None:
        """Take back what was asked of the models."""
        if self.served is not None:
            self.served.cancel(self)
