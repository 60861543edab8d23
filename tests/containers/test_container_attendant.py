"""Who looks after the peers while the model runs."""

import threading
import time
from collections.abc import Callable

import pytest

from clipper_container import runtime, wire
from clipper_container.attendant import Attendant
from clipper_container.wire import HEADER, ItemError

WAIT_S = 10.0


class FakePeers:
    """Notes who calls and when; a poll ends at once or when it is woken."""

    def __init__(self) -> None:
        self.has_unsent = False
        self.beats = 0
        self.polls: list[str] = []
        self.seen = threading.Condition()
        self._woken = threading.Event()

    def poll(self, timeout_s: float | None) -> None:
        assert timeout_s is not None
        with self.seen:
            self.polls.append(threading.current_thread().name)
            self.seen.notify_all()
        self._woken.wait(timeout_s)
        self._woken.clear()

    def send_busy(self) -> None:
        with self.seen:
            self.beats += 1
            self.seen.notify_all()

    def wake(self) -> None:
        self._woken.set()

    def until(self, condition: Callable[[], bool]) -> None:
        with self.seen:
            assert self.seen.wait_for(condition, WAIT_S)


def test_peers_are_polled_and_told_each_interval_while_a_batch_runs_long() -> None:
    peers = FakePeers()
    attendant = Attendant(peers, interval_s=0.01)
    attendant.start()
    attendant.model_starts(time.monotonic())
    peers.until(lambda: peers.beats >= 3)
    attendant.model_returned()
    assert set(peers.polls) == {"attendant"}


def test_nobody_polls_once_the_model_has_returned_and_an_idle_replica_is_never_woken() -> None:
    peers = FakePeers()
    attendant = Attendant(peers, interval_s=0.01)
    attendant.start()
    for _ in range(2):  # it wakes from being parked as well
        attendant.model_starts(time.monotonic() - 1)
        peers.until(lambda: peers.beats >= 1)
        attendant.model_returned()
        polls, peers.beats = len(peers.polls), 0
        deadline_s = time.monotonic() + WAIT_S
        while not attendant._parked:
            assert time.monotonic() < deadline_s
            time.sleep(0)
        assert len(peers.polls) == polls


def test_bytes_that_wait_for_a_peer_are_looked_after_from_the_start() -> None:
    peers = FakePeers()
    peers.has_unsent = True
    attendant = Attendant(peers, interval_s=WAIT_S)
    attendant.start()
    attendant.model_starts(time.monotonic())
    peers.until(lambda: len(peers.polls) >= 1)
    started_s = time.monotonic()
    attendant.model_returned()  # wakes the poll, which would wait for the next beat
    assert time.monotonic() - started_s < WAIT_S / 2
    assert peers.beats == 0


def test_outputs_that_there_is_no_memory_for_are_their_rows_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(runtime, "execute", starved)
    view = wire.decode_batch(bytearray(wire.encode_batch(7, "doubles", [bytes(8)] * 2, [0.0] * 2)[HEADER.size :]))
    frame, raised = runtime._answer(runtime.ReceivedBatch(None, 7, view, 0.0), list, time.monotonic())
    reply = wire.decode_reply(bytearray(frame[HEADER.size :]))
    assert reply.outputs == [ItemError("model_error", "there is no memory for the outputs of this batch")] * 2
    assert isinstance(raised, MemoryError)
