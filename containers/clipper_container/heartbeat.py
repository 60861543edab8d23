"""Tells peers that the replica lives while one batch keeps it longer than usual."""

import threading
import time
from collections.abc import Callable

INTERVAL_S = 1.0


class Heartbeat:
    """A thread that calls ``send_busy`` each second for as long as a batch has been running for one.

    It is parked while there are no batches, so an idle replica is never woken, and under load it wakes once a second:
    starting and finishing a batch are a few assignments. Inside a C call that holds the GIL it is silent.
    """

    def __init__(self, send_busy: Callable[[], None], *, interval_s: float = INTERVAL_S) -> None:
        self._send_busy = send_busy
        self._interval_s = interval_s
        self._running_since_s: float | None = None
        self._batches = 0
        self._parked = False
        self._unpark = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Starts the thread; it ends with the process."""
        self._thread.start()

    def batch_started(self, now_s: float) -> None:
        """The serving thread is about to call the model."""
        self._running_since_s = now_s
        self._batches += 1
        if self._parked:
            self._unpark.set()

    def batch_finished(self) -> None:
        """The model has returned."""
        self._running_since_s = None

    def _run(self) -> None:
        seen = 0
        while True:
            if self._running_since_s is None and self._batches == seen:
                self._park(seen)
            seen = self._batches
            time.sleep(self._interval_s)
            since_s = self._running_since_s
            if since_s is not None and time.monotonic() - since_s >= self._interval_s:
                self._send_busy()

    def _park(self, seen: int) -> None:
        self._unpark.clear()
        self._parked = True
        if self._batches == seen:  # otherwise a batch came before it could see that the thread parks
            self._unpark.wait()
        self._parked = False
