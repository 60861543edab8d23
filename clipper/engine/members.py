"""The members of an ensemble: who is asked, what each was asked for one query, and the query of all of them."""

from collections.abc import Callable
from typing import Any

from clipper.abstraction.call import Call
from clipper.abstraction.served import ServedVersion
from clipper.engine.arms import Serving
from clipper.engine.choosing import ChoiceTicket


class Roll:
    """Who is asked, in order; the same for all queries until other versions serve.

    ``models`` are ``model:version``, or the arm alone where no version serves it; ``ones`` are the propensities.
    """

    __slots__ = ("arms", "models", "ones", "versions")

    def __init__(self, serving: Serving) -> None:
        self.arms = tuple(serving)
        self.versions = tuple(serving.values())
        self.models = tuple(arm if served is None else served.name for arm, served in serving.items())
        self.ones = (1.0,) * len(serving)


class Member(Call):
    """What one arm is asked for one query. It never waits for the others."""

    __slots__ = ("served", "ticket")

    def __init__(
        self, ticket: "EnsembleTicket", on_result: Callable[["Member"], None], served: ServedVersion | None
    ) -> None:
        # Call.__init__ written out, as in `Ticket`: several are made for every query.
        self.row = ticket.row
        self.submitted_s = ticket.submitted_s
        self.deadline_s = ticket.deadline_s
        self.on_result = on_result
        self.flight = None
        self.output = None
        self.error = None
        self.cached = False
        self.coalesced = False
        self.trace = None
        self.ticket = ticket
        self.served = served

    @property
    def over(self) -> bool:
        """Whether it came to something."""
        return self.output is not None or self.error is not None


class EnsembleTicket(ChoiceTicket):
    """A query that all arms are asked. ``left`` members have come to nothing yet; ``waiting`` ends at the answer."""

    __slots__ = ("left", "members", "roll", "waiting")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.members: list[Member] = []
        self.roll: Roll | None = None
        self.left = 0
        self.waiting = False

    def withdraw(self) -> None:
        """Take back what was asked of the members."""
        if self.waiting:
            self.waiting = False
            for member in self.members:
                if member.served is not None and not member.over:
                    member.served.cancel(member)
        self.members.clear()  # they know the ticket: a cycle that would cost a collection
