"""The seam between the loops that say when to ask and the transports that do."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from clipper.loadgen.outcomes import Outcome

OnDone: TypeAlias = Callable[[Outcome, float], None]
"""What became of a query, and how many seconds after it was due. Called once for every query asked."""


class Caller(Protocol):
    """Asks queries and tells what becomes of them."""

    @property
    def connections(self) -> int:
        """Open now."""
        ...

    @property
    def under_way(self) -> int:
        """Queries that have no outcome yet."""
        ...

    async def open(self) -> None:
        """Reach the server, so that the first queries do not pay for it.

        Raises:
            Unreachable: There is none.
        """
        ...

    def ask(self, index: int, due_s: float) -> None:
        """Ask query ``index`` now, which was due at ``due_s`` (monotonic clock); never blocks, never raises."""
        ...

    async def close(self) -> None:
        """Let everything go; queries under way are lost."""
        ...
