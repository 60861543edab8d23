"""Looks after the peers while the model keeps the serving thread for longer than usual."""

import threading
import time
from typing import Protocol

INTERVAL_S = 1.0


class Attended(Protocol):
    """What is looked after: `clipper_container.peers.Peers`."""

    @property
    def has_unsent(self) -> bool:
        """Whether bytes wait for a peer to read."""

    def poll(self, timeout_s: float | None) -> None:
        """Accepts, greets, reads and flushes, waiting at most so long for something to do."""

    def send_busy(self) -> None:
        """Tells everyone that the replica lives."""

    def wake(self) -> None:
        """Ends a ``poll`` that waits in another thread."""


class Attendant:
    """A thread that polls the peers and says BUSY each second, for as long as a batch has been running for one.

    Where bytes wait for a peer it polls from the start: the end of a large reply does not wait for the next batch.
    One thread has the turn: the serving thread, except between ``model_starts`` and ``model_returned``.

    The attendant is parked while there are no batches, so an idle replica is never woken, and under load it wakes once
    a second: around a batch there are a few assignments and a lock that nobody else wants. Inside a C call that holds
    the GIL it is silent.
    """

    def __init__(self, peers: Attended, *, interval_s: float = INTERVAL_S) -> None:
        self._peers = peers
        self._interval_s = interval_s
        self._turn = threading.Lock()
        self._running_since_s: float | None = None
        self._is_urgent = False
        self._batches = 0
        self._parked = False
        self._signal = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attendant", daemon=True)

    def start(self) -> None:
        """Gives the turn to the calling thread and starts the attendant, which ends with the process."""
        self._turn.acquire()
        self._thread.start()

    def model_starts(self, now_s: float) -> None:
        """The serving thread is about to call the model; it leaves the peers alone until the model has returned."""
        self._running_since_s = now_s
        self._is_urgent = self._peers.has_unsent
        self._batches += 1
        self._turn.release()
        if self._parked or self._is_urgent:
            self._signal.set()

    def model_returned(self) -> None:
        """The serving thread has the turn again."""
        self._running_since_s = None
        if not self._turn.acquire(blocking=False):
            self._peers.wake()
            self._turn.acquire()

    def _run(self) -> None:
        seen = 0
        while True:
            self._rest(seen)
            seen = self._batches
            if self._is_due():
                with self._turn:
                    self._attend()

    def _rest(self, seen: int) -> None:
        """Waits for an interval, or for the next batch where there was none since the last look."""
        if self._running_since_s is None and self._batches == seen:
            self._parked = True
            if self._batches == seen:  # otherwise a batch came before it could see that the attendant parks
                self._signal.wait()
            self._parked = False
        else:
            self._signal.wait(self._interval_s)
        # Whoever sets it has said before what there is to see.
        self._signal.clear()

    def _is_due(self) -> bool:
        since_s = self._running_since_s
        return since_s is not None and (self._is_urgent or time.monotonic() - since_s >= self._interval_s)

    def _attend(self) -> None:
        since_s = self._running_since_s
        beat_at_s = 0.0 if since_s is None else since_s + self._interval_s
        while self._is_due():
            now_s = time.monotonic()
            if now_s >= beat_at_s:
                self._peers.send_busy()
                beat_at_s = now_s + self._interval_s
            self._peers.poll(beat_at_s - now_s)
