"""The queue of one model version: earliest deadline first, one line per row shape, bounded over all of them."""

import math
from bisect import bisect_left, bisect_right

from clipper.abstraction.flight import Flight


class ShapeQueue:
    """Flights whose rows fit into one batch, earliest deadline first; equal deadlines in order of arrival.

    Two parallel lists: deadlines arrive nearly in order, so that an insertion is mostly an append, a batch is a slice
    of the front, and policies read the deadlines as they are. A heap could do none of the three.
    """

    __slots__ = ("deadlines_s", "flights", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.deadlines_s: list[float] = []
        self.flights: list[Flight] = []

    def index_for(self, deadline_s: float) -> int:
        """Where a flight of that deadline would stand."""
        return bisect_right(self.deadlines_s, deadline_s)

    def size_within_bytes(self, skip: int, size: int, max_bytes: int) -> int:
        """How many of ``size`` flights behind the first ``skip`` have at most ``max_bytes`` together; at least 1."""
        if self.width:
            return max(1, min(size, max_bytes // self.width))
        room_bytes = max_bytes
        for count in range(size):
            room_bytes -= len(self.flights[skip + count].row)
            if room_bytes < 0:
                return max(1, count)
        return size


class DeadlineQueue:
    """All shapes of a version. ``by_width`` separates rows by their length in bytes, as numeric rows need it.

    A flight's ``deadline_s`` must not change while it is in the queue: remove it, change it, push it.
    """

    def __init__(self, *, by_width: bool) -> None:
        self.length = 0
        self.shapes: dict[int, ShapeQueue] = {}
        self._by_width = by_width

    def shape_of(self, row: bytes) -> ShapeQueue | None:
        """The line that this row belongs to, or None if there is none yet."""
        return self.shapes.get(len(row) if self._by_width else 0)

    def push(self, flight: Flight) -> None:
        """Insert a flight by its deadline."""
        width = len(flight.row) if self._by_width else 0
        shape = self.shapes.get(width)
        if shape is None:
            shape = self.shapes[width] = ShapeQueue(width)
        deadlines_s = shape.deadlines_s
        if not deadlines_s or flight.deadline_s >= deadlines_s[-1]:
            deadlines_s.append(flight.deadline_s)
            shape.flights.append(flight)
        else:
            index = bisect_right(deadlines_s, flight.deadline_s)
            deadlines_s.insert(index, flight.deadline_s)
            shape.flights.insert(index, flight)
        self.length += 1

    def remove(self, flight: Flight) -> None:
        """Take out one flight, wherever it stands."""
        shape = self.shapes[len(flight.row) if self._by_width else 0]
        index = bisect_left(shape.deadlines_s, flight.deadline_s)
        while shape.flights[index] is not flight:
            index += 1
        self.take(shape, index, 1)

    def take(self, shape: ShapeQueue, skip: int, size: int) -> list[Flight]:
        """Take out ``size`` flights behind the first ``skip``. An empty line goes at once."""
        taken = shape.flights[skip : skip + size]
        del shape.flights[skip : skip + size]
        del shape.deadlines_s[skip : skip + size]
        self.length -= len(taken)
        if not shape.flights:
            del self.shapes[shape.width]
        return taken

    def take_due(self, now_s: float) -> list[Flight]:
        """Take out all flights whose deadline has passed."""
        due: list[Flight] = []
        for shape in list(self.shapes.values()):
            count = bisect_right(shape.deadlines_s, now_s)
            if count:
                due += self.take(shape, 0, count)
        return due

    def take_all(self) -> list[Flight]:
        """Empty the queue."""
        flights = [flight for shape in self.shapes.values() for flight in shape.flights]
        self.shapes.clear()
        self.length = 0
        return flights

    def by_head(self) -> list[ShapeQueue]:
        """The lines, the one with the earliest head first."""
        shapes = list(self.shapes.values())
        if len(shapes) > 1:
            shapes.sort(key=lambda shape: shape.deadlines_s[0])
        return shapes

    def earliest_s(self) -> float:
        """The earliest deadline of all, infinity if the queue is empty."""
        return min((shape.deadlines_s[0] for shape in self.shapes.values()), default=math.inf)
