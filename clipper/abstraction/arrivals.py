"""How fast queries arrive (pure): counted one by one, rated once per batch."""

WINDOW_S = 0.05
SHORTEST_S = 0.001


class ArrivalRate:
    """An exponentially weighted rate over about the last `WINDOW_S`. The hot path only increments ``count``."""

    __slots__ = ("_rated_s", "count", "per_s")

    def __init__(self) -> None:
        self.count = 0
        self.per_s = 0.0
        self._rated_s = 0.0

    def rate(self, now_s: float) -> float:
        """Arrivals per second as of now."""
        elapsed_s = now_s - self._rated_s
        if elapsed_s >= SHORTEST_S:
            weight = elapsed_s / (elapsed_s + WINDOW_S)
            self.per_s += weight * (self.count / elapsed_s - self.per_s)
            self.count = 0
            self._rated_s = now_s
        return self.per_s
