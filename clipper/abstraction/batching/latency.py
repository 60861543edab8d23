"""How long a batch of a given size runs on one replica (pure).

As in Clockwork (OSDI'20): the last few durations per batch size and a high percentile of them; monotone in the size as
in Symphony (SOSP'23). In between it is interpolated, beyond the largest known size extrapolated.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from typing import Any

RECENT = 16
"""Durations kept per bucket. With three or more the slowest one is left out: an outlier alone decides nothing."""
FORGET_AFTER = 64
"""A bucket that was not seen for so many batches loses its slowest duration, so that it is tried again one day."""

ROUNDING = 1e-6
"""Of a query: a size that fits exactly must not lose one to floating point."""


class _Bucket:
    """Sizes of one half octave (1, 2, 3, 4-5, 6-7, 8-11, 12-15, ...)."""

    __slots__ = ("last_batch", "recent", "seconds", "size")

    def __init__(self) -> None:
        self.recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self.last_batch = 0
        self.size = 0
        self.seconds = 0.0

    def summarise(self) -> bool:
        """Stand for the bucket by its second slowest batch, with the size that it had. Returns whether that changed."""
        before = self.seconds, self.size
        ordered = sorted(self.recent)
        self.seconds, self.size = ordered[-2 if len(ordered) > 2 else -1]  # noqa: PLR2004  see RECENT
        return before != (self.seconds, self.size)


def _bucket_of(size: int) -> int:
    """2 per octave: the position of the highest bit and the bit below it."""
    high = size.bit_length() - 1
    return 2 * high + (size >> (high - 1) & 1 if high else 0)


class LatencyModel:
    """Durations by batch size.

    ``largest`` is the largest size known, 0 before the first `observe`; ``slowest_s`` its duration. ``revision`` grows
    when predictions change.
    """

    def __init__(self) -> None:
        self.largest = 0
        self.slowest_s = 0.0
        self.revision = 0
        self._batches = 0
        self._buckets: dict[int, _Bucket] = {}
        self._sizes: list[int] = []
        self._seconds: list[float] = []
        self._slope_s = 0.0

    def covers(self, size: int) -> bool:
        """Whether the prediction for that size is more than a guess: at least half as many were measured."""
        return size < 2 * self.largest

    def observe(self, size: int, seconds: float) -> None:
        """Add one measured batch."""
        self._batches += 1
        index = _bucket_of(size)
        bucket = self._buckets.get(index)
        if bucket is None:
            bucket = self._buckets[index] = _Bucket()
        bucket.recent.append((seconds, size))
        bucket.last_batch = self._batches
        changed = bucket.summarise()
        if self._batches % FORGET_AFTER == 0:
            self._forget()
            changed = True
        if changed:
            self._rebuild()

    def seconds(self, size: int) -> float:
        """The predicted duration of a batch of ``size``; 0 while nothing is known."""
        sizes = self._sizes
        if not sizes:
            return 0.0
        right = bisect_left(sizes, size)
        if right == 0:
            return self._seconds[0]
        low_size, low_s = sizes[right - 1], self._seconds[right - 1]
        if right == len(sizes):
            return low_s + (size - low_size) * self._slope_s
        return low_s + (size - low_size) * (self._seconds[right] - low_s) / (sizes[right] - low_size)

    def size_within(self, seconds: float, most: int) -> int:
        """The largest size up to ``most`` predicted to take at most ``seconds``; 0 if there is none.

        While nothing is known it is 1: the first sample is made with one query.
        """
        sizes = self._sizes
        if not sizes:
            return 1
        right = bisect_right(self._seconds, seconds)
        if right == 0:
            return 0
        low_size, spare_s = sizes[right - 1], seconds - self._seconds[right - 1]
        slope_s = self._slope_s
        if right < len(sizes):
            slope_s = (self._seconds[right] - self._seconds[right - 1]) / (sizes[right] - low_size)
        if slope_s * (most - low_size) <= spare_s:
            return most
        return low_size + int(spare_s / slope_s + ROUNDING)

    def describe(self) -> dict[str, Any]:
        """Predicted milliseconds at the sizes that were measured, and the number of batches behind them."""
        buckets = [bucket for _, bucket in sorted(self._buckets.items())]
        by_size = {str(b.size): round(self.seconds(b.size) * 1e3, 3) for b in buckets}
        return {"batches": self._batches, "ms_by_size": by_size}

    def _rebuild(self) -> None:
        """The curve through the buckets: never less for more."""
        sizes, seconds = [], []
        slowest_s = 0.0
        for _, bucket in sorted(self._buckets.items()):
            slowest_s = max(slowest_s, bucket.seconds)
            sizes.append(bucket.size)
            seconds.append(slowest_s)
        self._sizes, self._seconds = sizes, seconds
        self.largest, self.slowest_s = sizes[-1], slowest_s
        self.revision += 1
        if len(sizes) > 1:
            self._slope_s = (seconds[-1] - seconds[0]) / (sizes[-1] - sizes[0])
            if sizes[0] > 1:
                # Under lasting load single queries are forgotten. They take less, but no less than their share.
                one_s = max(seconds[0] - (sizes[0] - 1) * self._slope_s, seconds[0] / sizes[0])
                sizes.insert(0, 1)
                seconds.insert(0, one_s)
        else:
            # A single query says nothing about two, which are taken to cost no more, so that they are tried.
            self._slope_s = seconds[0] / sizes[0] if sizes[0] > 1 else 0.0

    def _forget(self) -> None:
        for index, bucket in list(self._buckets.items()):
            if bucket.last_batch + FORGET_AFTER <= self._batches:
                bucket.recent.remove(max(bucket.recent))
                if bucket.recent:
                    bucket.summarise()
                else:
                    del self._buckets[index]
