"""The codec: what is encoded comes back; nothing that a peer sends crashes it or takes memory that was not sent."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper_container import wire
from clipper_container.frames import Frame, FrameReader
from clipper_container.wire import HEADER, INPUT_TYPE_CODES, NUMBER_BYTES, ItemError, Kind, ProtocolError


def feed(reader: FrameReader, data: bytes) -> list[Frame]:
    """Receives ``data`` as a socket would, as far as the reader's buffer reaches each time."""
    frames: list[Frame] = []
    while data:
        buffer = reader.buffer()
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        data = data[count:]
        frames.extend(reader.advance(count))
    return frames


@st.composite
def batches(draw: st.DrawFn) -> tuple[str, list[bytes], list[float]]:
    input_type = draw(st.sampled_from(sorted(INPUT_TYPE_CODES)))
    number_bytes = NUMBER_BYTES.get(input_type, 1)
    count = draw(st.integers(1, 20))
    widths = draw(
        st.one_of(
            st.integers(0, 9).map(lambda w: [w] * count), st.lists(st.integers(0, 9), min_size=count, max_size=count)
        )
    )
    rows = [draw(st.binary(min_size=w * number_bytes, max_size=w * number_bytes)) for w in widths]
    deadlines = draw(st.lists(st.floats(allow_nan=False), min_size=count, max_size=count))
    return input_type, rows, deadlines


@given(batches(), st.integers(0, 2**64 - 1))
def test_a_batch_comes_back_as_it_was_sent(batch: tuple[str, list[bytes], list[float]], batch_id: int) -> None:
    input_type, rows, deadlines = batch
    (frame,) = feed(FrameReader(), wire.encode_batch(batch_id, input_type, rows, deadlines))
    view = wire.decode_batch(frame.payload)
    assert (frame.kind, frame.batch_id) == (Kind.BATCH, batch_id)
    assert (view.input_type, view.row_count) == (input_type, len(rows))
    assert struct.unpack(f"<{len(rows)}d", view.deadlines) == tuple(deadlines)
    assert bytes(view.rows) == b"".join(rows)
    lengths = view.lengths or (view.row_bytes,) * len(rows)
    assert lengths == tuple(map(len, rows))


def test_rows_of_one_length_start_aligned_for_doubles_and_so_do_ragged_ones() -> None:
    for rows in ([bytes(8)] * 3, [bytes(8), bytes(16), bytes(8)]):
        payload = bytearray(wire.encode_batch(1, "doubles", rows, [0.0] * 3)[HEADER.size :])
        view = wire.decode_batch(payload)
        assert (len(payload) - len(view.rows)) % 8 == 0


outputs = st.lists(
    st.one_of(
        st.sampled_from([b"0", b'"a\\nb"', b"[1,2]", b"null", b"-1.5e-7"]),
        st.builds(ItemError, st.sampled_from(["model_error", "deadline_exceeded"]), st.text(max_size=20)),
    ),
    min_size=1,
    max_size=20,
)


@given(outputs, st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_reply_comes_back_as_it_was_sent(items: list[bytes | ItemError], wait_s: float, run_s: float) -> None:
    errors = [(i, item) for i, item in enumerate(items) if isinstance(item, ItemError)]
    lines = b"".join(b"\n" if isinstance(item, ItemError) else item + b"\n" for item in items)
    (frame,) = feed(FrameReader(), wire.encode_reply(7, len(items), lines, errors, wait_s, run_s))
    reply = wire.decode_reply(frame.payload)
    assert frame.batch_id == 7
    assert (reply.outputs, reply.wait_s, reply.run_s) == (items, wait_s, run_s)


def test_outputs_too_large_for_a_frame_become_an_error_of_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 1000)
    reply = wire.decode_reply(bytearray(wire.encode_reply(1, 2, b"9" * 998 + b"\n0\n", [], 0.5, 1.5)[HEADER.size :]))
    sentence = "the outputs of this batch have 1025 bytes; a frame has at most 1000"
    assert reply.outputs == [ItemError("model_error", sentence)] * 2
    assert (reply.wait_s, reply.run_s) == (0.5, 1.5)


@pytest.mark.parametrize(
    ("count", "lines", "errors"),
    [
        (2, b"0\n", []),
        (1, b"0\n0\n", []),
        (1, b"0", []),
        (1, b"\n", []),
        (1, b"\n", [(1, ItemError("model_error", "x"))]),
        (1, b"\n", [(-1, ItemError("model_error", "x"))]),
    ],
)
def test_a_reply_whose_numbers_disagree_is_refused(
    count: int, lines: bytes, errors: list[tuple[int, ItemError]]
) -> None:
    with pytest.raises(ProtocolError):
        wire.decode_reply(bytearray(wire.encode_reply(1, count, lines, errors, 0.0, 0.0)[HEADER.size :]))


@given(st.binary(max_size=200))
def test_garbage_as_a_payload_is_refused_with_a_sentence(garbage: bytes) -> None:
    for decode in (wire.decode_batch, wire.decode_reply):
        try:
            decode(bytearray(garbage))
        except ProtocolError as error:
            assert str(error)  # noqa: PT017  # garbage may be valid by chance
    for message in (wire.DialerHello, wire.Challenge, wire.Auth, wire.Hello, wire.State):
        try:
            wire.read_control(bytearray(garbage), message)
        except ProtocolError as error:
            assert str(error)  # noqa: PT017  # garbage may be valid by chance


@given(batches(), st.data())
def test_a_batch_with_a_changed_prefix_is_refused_or_adds_up(
    batch: tuple[str, list[bytes], list[float]], data: st.DataObject
) -> None:
    input_type, rows, deadlines = batch
    payload = bytearray(wire.encode_batch(1, input_type, rows, deadlines)[HEADER.size :])
    position = data.draw(st.integers(0, min(len(payload), 64) - 1))
    payload[position] = data.draw(st.integers(0, 255))
    try:
        view = wire.decode_batch(payload)
    except ProtocolError:
        return
    lengths = view.lengths or (view.row_bytes or 0,) * view.row_count
    assert sum(lengths) == len(view.rows)
    assert len(view.deadlines) == 8 * view.row_count


def test_a_batch_over_the_limits_is_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 1000)
    with pytest.raises(ValueError, match="a frame has at most 1000"):
        wire.encode_batch(1, "bytes", [bytes(2000)], [0.0])
    with pytest.raises(ValueError, match="a deadline for each"):
        wire.encode_batch(1, "bytes", [b"a", b"b"], [0.0])
    with pytest.raises(ValueError, match="1 to 65536 rows"):
        wire.encode_batch(1, "bytes", [], [])


@given(
    st.lists(st.tuples(st.sampled_from(list(Kind)), st.integers(0, 2**64 - 1), st.binary(max_size=300)), max_size=8),
    st.data(),
)
def test_frames_come_out_whole_however_they_are_cut(frames: list[tuple[Kind, int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(wire.frame(kind, payload, batch_id) for kind, batch_id, payload in frames)
    reader = FrameReader()
    seen: list[Frame] = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        seen += feed(reader, stream[:cut])
        stream = stream[cut:]
    assert [(frame.kind, frame.batch_id, bytes(frame.payload)) for frame in seen] == frames


@pytest.mark.parametrize("size", [65_515, 65_516, 65_517, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_large_frames_come_out_whole_between_small_ones(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    reader = FrameReader(wire.MAX_FRAME_BYTES)
    small = wire.frame(Kind.BUSY)
    seen = feed(reader, small + wire.frame(Kind.REPLY, payload, 3) + small)
    assert [frame.kind for frame in seen] == [Kind.BUSY, Kind.REPLY, Kind.BUSY]
    assert bytes(seen[1].payload) == payload


@given(st.binary(min_size=1, max_size=400))
def test_garbage_as_a_stream_ends_with_a_sentence(garbage: bytes) -> None:
    try:
        feed(FrameReader(), garbage)
    except ProtocolError as error:
        assert str(error)  # noqa: PT017  # a short piece of garbage is not yet known for what it is


def test_what_came_before_garbage_is_still_handed_out() -> None:
    reader = FrameReader()
    seen: list[Frame] = []
    data = wire.frame(Kind.BUSY) + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    reader.buffer()[: len(data)] = data
    with pytest.raises(ProtocolError, match="does not speak the protocol"):
        seen.extend(reader.advance(len(data)))
    assert [frame.kind for frame in seen] == [Kind.BUSY]


def test_another_protocol_version_is_named_but_its_error_is_read() -> None:
    newer = bytearray(wire.error_frame("no"))
    newer[4] = 9
    assert wire.read_text(feed(FrameReader(), bytes(newer))[0].payload) == "no"
    newer[5] = Kind.HELLO
    with pytest.raises(ProtocolError, match="protocol version 1 was expected, 9 came"):
        feed(FrameReader(), bytes(newer))


def test_a_frame_that_is_too_large_is_refused_by_its_header() -> None:
    header = HEADER.pack(wire.MAGIC, 1, Kind.HELLO, 0, wire.MAX_STRANGER_FRAME_BYTES + 1, 0)
    with pytest.raises(ProtocolError, match="at most 16384 bytes"):
        feed(FrameReader(), header)


def test_a_claimed_length_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        reader = FrameReader(wire.MAX_FRAME_BYTES)
        feed(reader, HEADER.pack(wire.MAGIC, 1, Kind.BATCH, 0, wire.MAX_FRAME_BYTES, 0))
        reader.buffer()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 512 << 10
