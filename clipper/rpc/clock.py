"""The offset between two hosts' monotonic clocks, from pings (Cristian's algorithm). Pure."""

from collections import deque
from typing import NamedTuple

MAX_DRIFT = 100e-6
"""Seconds that two clocks may drift apart in one second."""
_KEPT_SAMPLES = 8


class _Sample(NamedTuple):
    taken_s: float
    offset_s: float
    error_s: float


class ClockOffset:
    """What to add to the local clock to get the replica's. The estimate is the sample with the least possible error.

    A reply came somewhere between its ping and its pong, so half of the round trip bounds a sample's error; drift adds
    to it with age, so that a good old sample gives way to a fair new one.
    """

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=_KEPT_SAMPLES)
        self.offset_s = 0.0

    def add(self, sent_s: float, remote_s: float, received_s: float) -> None:
        """Regards one ping: sent and received on the local clock, answered at ``remote_s`` on the replica's."""
        middle_s, half_s = (sent_s + received_s) / 2, (received_s - sent_s) / 2
        self._samples.append(_Sample(received_s, remote_s - middle_s, half_s))
        self.offset_s = min(self._samples, key=lambda s: s.error_s + MAX_DRIFT * (received_s - s.taken_s)).offset_s

    def __len__(self) -> int:
        return len(self._samples)
