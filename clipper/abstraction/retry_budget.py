"""How many queries may be run again (pure): a share of all, so that failing replicas meet no retry storm."""

RETRIES_PER_QUERY = 0.1
RESERVE = 200.0
MOST_SAVED = 10_000.0


class RetryBudget:
    """A token bucket filled by answered queries, as in Finagle and Envoy. ``RESERVE`` lets a quiet version retry."""

    __slots__ = ("tokens",)

    def __init__(self) -> None:
        self.tokens = RESERVE

    def earn(self, queries: int) -> None:
        """Queries were answered."""
        self.tokens = min(MOST_SAVED, self.tokens + queries * RETRIES_PER_QUERY)

    def spend(self) -> bool:
        """Whether one more query may be run again; if so, it is paid for."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
