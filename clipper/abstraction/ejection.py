"""When a replica is taken out of rotation, and how it comes back (pure).

Outlier detection as Envoy does it: consecutive failures eject, each time for longer, never the last replica; after that
time the door is half open for one small batch, whose fate decides.
"""

MAX_FAILURES = 5
FIRST_EJECTION_S = 0.5
LONGEST_EJECTION_S = 2.0


class Ejection:
    """The record of one replica. A failure is a lost connection or a batch of which every item failed."""

    __slots__ = ("failures", "times", "until_s")

    def __init__(self) -> None:
        self.failures = 0
        self.times = 0
        self.until_s = 0.0

    @property
    def ejected(self) -> bool:
        """Out of rotation, or half open: the next batch decides."""
        return self.times > 0

    def success(self) -> None:
        """A batch came back with at least one output: everything is forgiven."""
        self.failures = 0
        self.times = 0
        self.until_s = 0.0

    def failure(self, now_s: float, *, is_last: bool) -> bool:
        """Count a failure. Returns True if it ejects the replica; ``is_last`` says that no other one could serve."""
        self.failures += 1
        if is_last or (self.failures < MAX_FAILURES and not self.ejected):
            return False
        self.until_s = now_s + min(FIRST_EJECTION_S * 2**self.times, LONGEST_EJECTION_S)
        self.times += 1
        return True
