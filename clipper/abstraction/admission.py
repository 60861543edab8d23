"""Whether a query may wait (pure): refused on arrival when waiting makes it late, or makes an admitted one late.

The queue is seen as cut into full batches, the size that the policies expect. They are started one after the
other by the replicas in the order in which those are free, and each replica starts its next one a full run later.
AlpaServe (OSDI'23) refuses on arrival by predicted finish; this is our prediction.
"""

import math
import sys
from collections.abc import Callable, Sequence

import msgspec

MOST_CHECKS = 16
"""How many of the admitted queries are asked at most whether one more makes them late."""


def _nothing_known(_size: int) -> float:
    return 0.0


class Forecast(msgspec.Struct, eq=False):
    """What the pool is about to do; made anew with every batch and reply.

    ``free_s`` has for each replica that can be given work when it is free, soonest first (0 when it is idle);
    ``batch_size`` queries make a full batch, which runs for ``batch_s`` seconds; ``run_s(n)`` is the run of a batch of
    n. ``tight`` when a query waits that a full first batch would make late; ``measured`` when any latency is known.
    """

    margin_s: float
    max_queue_length: int = sys.maxsize
    free_s: Sequence[float] = (0.0,)
    idle: int = 0
    batch_size: int = 1
    batch_s: float = 0.0
    run_s: Callable[[int], float] = _nothing_known
    arrivals_per_s: float = 0.0
    tight: bool = False
    measured: bool = False

    def surely_on_time(self, now_s: float, deadline_s: float, queued: int) -> bool:
        """Whether it needs no closer look: it is in the next batch, which is on time even when it is full."""
        slack_s = deadline_s - self.batch_s - self.margin_s
        return (
            queued < self.batch_size
            and queued < self.max_queue_length
            and slack_s >= now_s
            and slack_s >= self.free_s[0]
            and self.measured
            and not self.tight
        )

    def is_tight(self, now_s: float, deadline_s: float) -> bool:
        """Whether a full next batch would make a query of that deadline late."""
        return deadline_s < max(now_s, self.free_s[0]) + self.batch_s + self.margin_s

    def refusal_s(self, now_s: float, deadline_s: float, index: int, deadlines_s: Sequence[float]) -> float | None:
        """None to admit a query at ``index`` of the queue, else after how many seconds it would have been admitted.

        ``deadlines_s`` are those of the queue without it. While nothing was measured there is no ground for a refusal.
        """
        if not self.measured:
            return None
        late_s = self._finish_s(now_s, index, len(deadlines_s) + 1, self.arrivals_per_s) - deadline_s
        return late_s if late_s > 0 else self._harm_s(now_s, index, deadlines_s)

    def drain_s(self, queued: int) -> float:
        """How long the pool needs for that many queries."""
        return queued / self.batch_size * self.batch_s / len(self.free_s)

    def _finish_s(self, now_s: float, index: int, length: int, arrivals_per_s: float = 0.0) -> float:
        """When the query at ``index`` of a queue of ``length`` is answered.

        Arrivals until its batch starts will share it: a batch is made when a replica is free and not before.
        """
        batch = index // self.batch_size
        runs_before, replica = divmod(batch, len(self.free_s))
        start_s = max(now_s, self.free_s[replica]) + runs_before * self.batch_s
        sharing = length - batch * self.batch_size + arrivals_per_s * (start_s - now_s)
        own_s = self.batch_s
        if sharing < self.batch_size:
            own_s = min(own_s, self.run_s(math.ceil(sharing)))
        return start_s + own_s + self.margin_s

    def _harm_s(self, now_s: float, index: int, deadlines_s: Sequence[float]) -> float | None:
        """By how much one more query at ``index`` makes an admitted one late that is on time without it.

        Behind it, one query moves across each boundary between batches; and the last batch grows by one.
        """
        length = len(deadlines_s)
        size = self.batch_size
        first_moved = (index // size + 1) * size - 1
        step = size * max(1, (length - first_moved) // size // MOST_CHECKS)
        last_head = length // size * size
        grown = last_head - 1 if index < last_head else last_head
        asked: list[int] = [*range(first_moved, length, step), grown]
        for old_index in asked:
            if not 0 <= old_index < length:
                continue
            new_index = old_index + 1 if old_index >= index else old_index
            late_s = self._finish_s(now_s, new_index, length + 1) - deadlines_s[old_index]
            if late_s > 0 and self._finish_s(now_s, old_index, length) <= deadlines_s[old_index]:
                return late_s
        return None
