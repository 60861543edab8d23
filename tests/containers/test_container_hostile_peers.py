"""What peers may do to a replica over its socket: nothing that harms another one."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from container_harness import WAIT_S, RawPeer, running_replica
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipper_container import wire
from clipper_container.peers import MAX_PEERS
from clipper_container.wire import HEADER, Kind


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """One replica for all of these tests: each has to leave it unharmed."""
    path = tmp_path_factory.mktemp("hostile") / "s"
    with running_replica(path) as process:
        yield path, process.pid
        process.terminate()
        assert process.wait(WAIT_S) == 0


@pytest.fixture
def peer(replica: tuple[Path, int]) -> Iterator[Callable[[], RawPeer]]:
    """Connects raw peers; afterwards the replica answers a well-behaved one."""
    with contextlib.ExitStack() as stack:

        def connect() -> RawPeer:
            return stack.enter_context(RawPeer(replica[0]))

        yield connect
        good = connect()
        good.greet()
        assert wire.decode_reply(good.ask().payload).outputs == [b"0"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(min_size=20, max_size=2000), greeted=st.booleans())
def test_garbage_ends_the_connection_and_nothing_else(replica: tuple[Path, int], garbage: bytes, greeted: bool) -> None:
    with RawPeer(replica[0]) as peer:
        if greeted:
            peer.greet()
        peer.send(b"\0" + garbage)
        assert "does not speak the protocol" in peer.farewell()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.integers(0, 255), payload=st.binary(max_size=300))
def test_frames_of_any_kind_and_content_are_answered_or_end_the_connection(
    replica: tuple[Path, int], kind: int, payload: bytes
) -> None:
    if kind == Kind.STOP:
        return
    with RawPeer(replica[0]) as peer:
        peer.greet()
        peer.send(HEADER.pack(wire.MAGIC, 1, kind, 0, len(payload), 9) + payload)
        peer.sock.shutdown(socket.SHUT_WR)
        while (frame := peer.read()) is not None:
            assert frame.kind in {Kind.ERROR, Kind.REPLY, Kind.PONG}


@pytest.mark.parametrize(
    ("greeted", "data", "sentence"),
    [
        (False, wire.frame(Kind.BATCH), "HELLO and then AUTH were expected, frame kind 3 came"),
        (False, wire.frame(Kind.AUTH, b"{}"), "HELLO and then AUTH were expected"),
        (False, wire.frame(Kind.HELLO, b"[]"), "a DialerHello message was expected"),
        (
            False,
            HEADER.pack(wire.MAGIC, 1, Kind.HELLO, 0, 1 << 20, 0),
            "at most 16384 bytes, one of 1048576 was announced",
        ),
        (False, HEADER.pack(wire.MAGIC, 7, Kind.HELLO, 0, 2, 0) + b"{}", "protocol version 1 was expected, 7 came"),
        (True, HEADER.pack(wire.MAGIC, 1, Kind.BATCH, 0, 0xFFFFFFFF, 0), "at most 268435456 bytes"),
        (True, wire.frame(Kind.HELLO, b"{}"), "frame kind 1 is not one that a dialer sends"),
        (True, wire.frame(Kind.BATCH, b"short"), "a batch starts with 16 bytes"),
        (True, wire.encode_batch(1, "strings", [b"a"], [0.0]), "takes doubles, a batch of strings came"),
        (True, wire.frame(Kind.PING), "a ping carries 8 bytes, 0 came"),
    ],
)
def test_what_is_wrong_is_said_before_the_connection_ends(
    peer: Callable[[], RawPeer], greeted: bool, data: bytes, sentence: str
) -> None:
    bad = peer()
    if greeted:
        bad.greet()
    bad.send(data)
    assert sentence in bad.farewell()


def test_good_frames_in_front_of_garbage_are_answered(peer: Callable[[], RawPeer]) -> None:
    mixed = peer()
    mixed.greet()
    mixed.send(wire.frame(Kind.PING, bytes(8)) + b"garbage garbage garbage")
    assert mixed.until(Kind.PONG).payload[:8] == bytes(8)
    assert "does not speak the protocol" in mixed.farewell()


def test_claimed_megabytes_that_never_come_take_no_memory(
    peer: Callable[[], RawPeer], replica: tuple[Path, int]
) -> None:
    process = psutil.Process(replica[1])
    before = process.memory_info().rss
    for _ in range(20):
        liar = peer()
        liar.greet()
        liar.send(HEADER.pack(wire.MAGIC, 1, Kind.BATCH, 0, wire.MAX_FRAME_BYTES, 0) + b"x" * 100)
    other = peer()
    other.greet()
    other.ask()
    assert process.memory_info().rss - before < 10 << 20


def test_a_batch_that_comes_byte_by_byte_is_answered(peer: Callable[[], RawPeer]) -> None:
    slow = peer()
    slow.greet()
    for byte in wire.encode_batch(5, "doubles", [bytes(8)] * 2, [time.monotonic() + 30] * 2):
        slow.send(bytes([byte]))
    frame = slow.until(Kind.REPLY)
    assert frame.batch_id == 5
    assert wire.decode_reply(frame.payload).outputs == [b"0", b"0"]


def test_a_peer_that_leaves_in_the_middle_of_a_frame_is_forgotten(
    peer: Callable[[], RawPeer], replica: tuple[Path, int]
) -> None:
    process = psutil.Process(replica[1])
    before = process.num_fds()
    for cut in range(1, 60, 3):
        with RawPeer(replica[0]) as leaver:
            leaver.greet()
            leaver.send(wire.encode_batch(5, "doubles", [bytes(8)] * 2, [0.0] * 2)[:cut])
    deadline = time.monotonic() + WAIT_S
    while process.num_fds() > before:
        assert time.monotonic() < deadline
        with RawPeer(replica[0]) as other:  # its answer comes after the departures were seen
            other.greet()


def test_more_batches_than_may_wait_end_the_connection(peer: Callable[[], RawPeer]) -> None:
    greedy = peer()
    greedy.greet()
    batch = wire.encode_batch(1, "doubles", [bytes(8)], [0.0])
    greedy.send(batch * (20 * wire.MAX_UNANSWERED_BATCHES))
    assert f"at most {wire.MAX_UNANSWERED_BATCHES} batches may wait" in greedy.farewell()


def test_more_peers_than_there_may_be_are_turned_away(peer: Callable[[], RawPeer], replica: tuple[Path, int]) -> None:
    first = peer()
    first.greet()
    with contextlib.ExitStack() as crowd:
        for _ in range(MAX_PEERS - 1):
            crowd.enter_context(RawPeer(replica[0])).greet()
        assert crowd.enter_context(RawPeer(replica[0])).read() is None
        assert wire.decode_reply(first.ask().payload).outputs == [b"0"]


def test_strangers_who_hold_connections_shut_nobody_out(peer: Callable[[], RawPeer]) -> None:
    for _ in range(MAX_PEERS + 10):
        stranger = peer()
        stranger.send(wire.control(Kind.HELLO, wire.DialerHello("r1", "0" * 32)))
        stranger.until(Kind.CHALLENGE)
    known = peer()
    known.greet()
    assert wire.decode_reply(known.ask().payload).outputs == [b"0"]


def test_a_socket_of_another_user_is_not_open_to_all(replica: tuple[Path, int]) -> None:
    assert replica[0].stat().st_mode & 0o777 == 0o600
    assert replica[0].stat().st_uid == os.getuid()
