"""Draining at the level of frames: nothing that was sent goes without an answer."""

import time
from pathlib import Path

from container_harness import WAIT_S, RawPeer, running_replica

from clipper_container import wire
from clipper_container.runtime import DRAIN_TIMEOUT_S
from clipper_container.wire import Kind


def batch(batch_id: int) -> bytes:
    return wire.encode_batch(batch_id, "doubles", [bytes(8)], [time.monotonic() + 30])


def test_a_batch_that_crosses_the_word_of_draining_is_refused_and_the_last_word_ends_it(tmp_path: Path) -> None:
    with running_replica(tmp_path / "s") as process, RawPeer(tmp_path / "s") as peer:
        peer.greet()
        peer.send(batch(1) + wire.frame(Kind.STOP))
        peer.until(Kind.DRAINING)
        assert peer.until(Kind.REPLY).batch_id == 1
        peer.send(batch(2))
        refused = peer.until(Kind.REFUSED)
        assert (refused.batch_id, wire.read_text(refused.payload)) == (2, "the replica is draining")
        peer.send(wire.frame(Kind.LAST))
        started_s = time.monotonic()
        assert peer.read() is None
        assert process.wait(WAIT_S) == 0
        assert time.monotonic() - started_s < DRAIN_TIMEOUT_S


def test_a_peer_without_a_last_word_does_not_keep_a_draining_replica(tmp_path: Path) -> None:
    with running_replica(tmp_path / "s") as process, RawPeer(tmp_path / "s") as peer:
        peer.greet()
        peer.send(wire.frame(Kind.STOP))
        peer.until(Kind.DRAINING)
        assert process.wait(WAIT_S) == 0


def test_a_batch_before_ready_is_refused(tmp_path: Path) -> None:
    with running_replica(tmp_path / "s"), RawPeer(tmp_path / "s") as peer:
        hello = wire.control(Kind.HELLO, wire.DialerHello("r1", "0" * 32))
        peer.send(hello + wire.control(Kind.AUTH, wire.Auth()) + batch(1))
        frames = [peer.read()]
        while frames[-1] is not None and frames[-1].kind not in {Kind.REFUSED, Kind.REPLY}:
            frames.append(peer.read())
        kinds = [frame.kind for frame in frames if frame is not None]
        assert kinds[-1] == (Kind.REPLY if Kind.READY in kinds else Kind.REFUSED)
