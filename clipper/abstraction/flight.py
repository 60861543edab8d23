"""One execution that is queued or running, for everybody who asked for the same prediction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from clipper.abstraction.call import Call

if TYPE_CHECKING:
    from clipper.abstraction.replica import ReplicaSlot


class Flight(msgspec.Struct, gc=False, eq=False):
    """A row on its way to a model and the calls that wait for it (single flight).

    ``deadline_s`` is the earliest deadline of its live calls (infinity without any) and its priority in the queue;
    ``latest_s`` the latest, until which executing it makes sense. ``key`` is None where nothing is cached and nobody
    can join. ``batch`` is set while it executes. ``done`` means that its calls are being answered: they leave by
    themselves.

    The garbage collector does not look at flights (one is made for each query), so whoever ends one breaks its
    cycles: ``call.flight`` and ``batch.flights``.
    """

    key: bytes | None
    row: bytes
    calls: list[Call]
    deadline_s: float
    latest_s: float
    arrived_s: float
    batch: Batch | None = None
    retried: bool = False
    done: bool = False

    def join(self, call: Call) -> None:
        """Add a call. In the queue the flight must be taken out first if this makes its deadline earlier."""
        self.deadline_s = min(self.deadline_s, call.deadline_s)
        self.latest_s = max(self.latest_s, call.deadline_s)
        self.calls.append(call)
        call.flight = self
        if self.batch is not None:
            self.batch.earliest_s = min(self.batch.earliest_s, call.deadline_s)

    def leave(self, call: Call) -> float:
        """Remove a call. Returns the earliest deadline of the others, infinity if there are none.

        ``deadline_s`` is left as it is: in the queue the flight must be taken out before it changes.
        """
        self.calls.remove(call)
        earliest_s = math.inf
        for other in self.calls:
            if other.deadline_s <= self.deadline_s:
                return self.deadline_s
            earliest_s = min(earliest_s, other.deadline_s)
        return earliest_s

    def is_stuck(self, now_s: float) -> bool:
        """Whether the replica that executes it has been silent for so long that it gets no new work."""
        return self.batch is not None and self.batch.slot.stalls_at_s <= now_s

    def take_expired(self, now_s: float) -> list[Call]:
        """Remove the calls whose deadline has passed and return them; the earliest deadline is that of the others."""
        expired = [call for call in self.calls if call.deadline_s <= now_s]
        if expired:
            self.calls = [call for call in self.calls if call.deadline_s > now_s]
            self.deadline_s = min((call.deadline_s for call in self.calls), default=math.inf)
        for call in expired:
            call.flight = LEAVING
        return expired

    def take_lingering(self) -> list[Call]:
        """Remove the calls that wait on only for the execution under way (`linger`), and return them: it is over."""
        lingering = [call for call in self.calls if call.deadline_s > self.latest_s]
        if lingering:
            self.calls = [call for call in self.calls if call.deadline_s <= self.latest_s]
            self.deadline_s = min((call.deadline_s for call in self.calls), default=math.inf)
        for call in lingering:
            call.flight = LEAVING
        return lingering

    def take_calls(self) -> list[Call]:
        """End without an output: everybody leaves, and can still be cancelled before the error is delivered."""
        calls, self.calls = self.calls, []
        self.done = True
        self.batch = None
        for call in calls:
            call.flight = LEAVING
        return calls


class Batch(msgspec.Struct, gc=False, eq=False):
    """Flights that one replica executes together. ``deadlines_s`` is what the replica was told, one per flight."""

    batch_id: int
    slot: ReplicaSlot
    flights: list[Flight]
    deadlines_s: list[float]
    sent_s: float
    earliest_s: float
    attempts: int = 1

    def take_flights(self) -> list[Flight]:
        """The flights, which the batch then no longer holds: this is how the cycle between them ends."""
        flights, self.flights = self.flights, []
        return flights


MAX_LINGERING: Final = 256
"""Calls of one flight; each looks through all others when it is late, and once is enough to have the output cached."""

LEAVING = Flight(key=None, row=b"", calls=[], deadline_s=0.0, latest_s=0.0, arrived_s=0.0, done=True)
"""Where a call is between leaving its flight and being answered; it can still be cancelled there."""


def linger(call: Call, until_s: float) -> bool:
    """Let a call wait on for an execution that is under way, though its deadline passes; False where there is none.

    So it is where very many wait for the same one. It keeps nothing alive: what comes to nothing before is not executed
    again for it.
    """
    flight = call.flight
    if flight is None or flight.done or flight.batch is None or len(flight.calls) > MAX_LINGERING:
        return False
    call.deadline_s = until_s
    flight.deadline_s = min(other.deadline_s for other in flight.calls)
    return True
