"""The container protocol's frames: constants, shared structs, codec. The specification is ``proto/container.md``.

Both ends import this module: the runtime, and ``clipper.rpc`` on the frontend's side; no I/O, no numpy.
A frame is a fixed header and a payload. Control payloads are JSON; batches and replies are raw bytes behind a short
prefix, so that neither end does work per row where the rows have one length.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, TypeVar

import msgspec

MAGIC = b"CLPR"
PROTOCOL_VERSION = 1
MAX_FRAME_BYTES = 256 << 20
"""The largest payload of a frame; a batch or a reply has to fit."""
MAX_STRANGER_FRAME_BYTES = 16 << 10
"""The largest payload before the peer is known."""
MAX_BATCH_ROWS = 65_536
MAX_UNANSWERED_BATCHES = 64
"""How many batches a peer may have at a replica without a reply; two hide the transfer."""

HEADER = struct.Struct("<4sBBHIQ")
"""Magic, protocol version, frame kind, reserved (0), payload length, batch id (0 where there is none)."""
BATCH_PREFIX = struct.Struct("<BBHII4x")
"""Input type, uniform (1) or length table (0), reserved, row count, bytes of one row (0 with a table)."""
REPLY_PREFIX = struct.Struct("<IIdd")
"""Row count, bytes of the errors' JSON, seconds waited before predict, seconds in predict."""
TIME = struct.Struct("<d")
PONG_TIMES = struct.Struct("<dd")
_LENGTH = struct.Struct("<I")

_ERROR_TEXT_BYTES = 4096
_JOINED_BYTES = 64 << 10

T = TypeVar("T")


class Kind(IntEnum):
    """What a frame is. Below 16 the dialer (frontend, controller) sends it, from 16 the replica."""

    HELLO = 1
    AUTH = 2
    BATCH = 3
    PING = 4
    STOP = 5
    LAST = 6
    CHALLENGE = 16
    STATE = 17
    READY = 18
    REPLY = 19
    REFUSED = 20
    DRAINING = 21
    BUSY = 22
    PONG = 23
    ERROR = 24


INPUT_TYPE_CODES = {"doubles": 1, "floats": 2, "integers": 3, "strings": 4, "bytes": 5, "json": 6, "tensors": 7}
INPUT_TYPES = {code: name for name, code in INPUT_TYPE_CODES.items()}
NUMBER_BYTES = {"doubles": 8, "floats": 4, "integers": 4}
"""Numeric input types and the bytes of one number."""


class ProtocolError(Exception):
    """The peer sent what the protocol does not allow; the connection ends with this sentence."""


class DialerHello(msgspec.Struct, frozen=True):
    """HELLO: who dials whom. ``nonce`` is random, hexadecimal."""

    replica_id: str
    nonce: str
    peer: str = ""


class Challenge(msgspec.Struct, frozen=True):
    """CHALLENGE: the replica's id, its nonce, and the proof that it knows the shared secret (empty without one)."""

    replica_id: str
    nonce: str
    proof: str = ""


class Auth(msgspec.Struct, frozen=True):
    """AUTH: the dialer's proof that it knows the shared secret (empty without one)."""

    proof: str = ""


class State(msgspec.Struct, frozen=True):
    """STATE: what the replica does before it is ready: ``loading``, ``warming`` or ``failed``; ``detail`` says why."""

    state: str
    detail: str = ""


class TensorSpec(msgspec.Struct, frozen=True):
    """One tensor of a query or an answer, without the batch; -1 is a size that a query decides."""

    datatype: str
    name: str = ""
    shape: list[int] = []


class Hello(msgspec.Struct, frozen=True):
    """READY: what the replica serves. ``warmup`` has (batch size, seconds), nothing where there was no example.

    ``inputs`` are the tensors of a row, where the input type is ``tensors``.
    """

    model: str
    version: str
    generation: int
    replica_id: str
    flavor: str
    input_type: str
    input_width: int | None
    warmup: list[tuple[int, float]]
    pid: int
    runtime_version: str
    inputs: list[TensorSpec] = []


class ItemError(msgspec.Struct, frozen=True):
    """Why one row has no output. ``code`` is ``model_error`` or ``deadline_exceeded``."""

    code: str
    message: str


class BatchReply(msgspec.Struct):
    """One output per row, in order: a JSON fragment or an error. Seconds waited at the replica, and in predict."""

    outputs: list[bytes | ItemError]
    wait_s: float
    run_s: float


class BatchView(NamedTuple):
    """A BATCH, checked and taken apart without a copy.

    ``row_bytes`` is None where the rows differ in length: then ``lengths`` has the length of each. ``rows`` are all
    rows back to back, ``deadlines`` one little-endian f64 per row.
    """

    input_type: str
    row_count: int
    row_bytes: int | None
    deadlines: memoryview
    lengths: tuple[int, ...] | None
    rows: memoryview


def frame(kind: Kind, payload: bytes = b"", batch_id: int = 0) -> bytes:
    """A frame's bytes."""
    return HEADER.pack(MAGIC, PROTOCOL_VERSION, kind, 0, len(payload), batch_id) + payload


def control(kind: Kind, message: msgspec.Struct) -> bytes:
    """A frame whose payload is a struct as JSON."""
    return frame(kind, msgspec.json.encode(message))


def read_control(payload: bytearray, type_: type[T]) -> T:
    """The struct in a control frame; fields of a newer peer are ignored.

    Raises:
        ProtocolError: The payload is not that struct.
    """
    try:
        return msgspec.json.decode(payload, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"a {type_.__name__} message was expected, but the payload is not one: {error}") from error


def error_frame(sentence: str) -> bytes:
    """ERROR: why the sender ends the connection. Its layout never changes between protocol versions."""
    return frame(Kind.ERROR, sentence.encode("utf-8", "replace")[:_ERROR_TEXT_BYTES])


def read_text(payload: bytearray) -> str:
    """The sentence in an ERROR or a REFUSED."""
    return payload[:_ERROR_TEXT_BYTES].decode("utf-8", "replace")


def batch_buffers(batch_id: int, input_type: str, rows: Sequence[bytes], deadlines_s: Sequence[float]) -> list[bytes]:
    """A BATCH frame as the buffers to be written one after another. ``deadlines_s`` are on the replica's clock.

    A small batch is joined. A large one keeps its rows as they are: for 64 rows of 784 doubles, writing them with one
    ``writelines`` took 56 us of the frontend instead of 77; for 64 rows of 10 it took 1 us more.

    Raises:
        ValueError: The batch is over ``MAX_FRAME_BYTES`` or ``MAX_BATCH_ROWS``, or rows and deadlines differ in number.
    """
    count = len(rows)
    if count != len(deadlines_s) or not 0 < count <= MAX_BATCH_ROWS:
        given = f"{count} and {len(deadlines_s)}"
        raise ValueError(f"A batch has 1 to {MAX_BATCH_ROWS} rows and a deadline for each, not {given}.")
    lengths = list(map(len, rows))
    uniform = lengths.count(lengths[0]) == count
    table = b"" if uniform else _padded(struct.pack(f"<{count}I", *lengths))
    size = BATCH_PREFIX.size + 8 * count + len(table) + sum(lengths)
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"The batch has {size} bytes; a frame has at most {MAX_FRAME_BYTES}.")
    header = HEADER.pack(MAGIC, PROTOCOL_VERSION, Kind.BATCH, 0, size, batch_id)
    prefix = BATCH_PREFIX.pack(INPUT_TYPE_CODES[input_type], uniform, 0, count, lengths[0] if uniform else 0)
    head = (header, prefix, struct.pack(f"<{count}d", *deadlines_s), table)
    return [b"".join((*head, *rows))] if size <= _JOINED_BYTES else [b"".join(head), *rows]


def encode_batch(batch_id: int, input_type: str, rows: Sequence[bytes], deadlines_s: Sequence[float]) -> bytes:
    """The frame of ``batch_buffers`` in one piece."""
    return b"".join(batch_buffers(batch_id, input_type, rows, deadlines_s))


def decode_batch(payload: bytearray) -> BatchView:
    """Takes a BATCH's payload apart.

    Raises:
        ProtocolError: The lengths do not add up, or the input type is unknown.
    """
    if len(payload) < BATCH_PREFIX.size:
        raise ProtocolError(f"a batch starts with {BATCH_PREFIX.size} bytes of its own, {len(payload)} came")
    code, uniform, _, count, row_bytes = BATCH_PREFIX.unpack_from(payload)
    if code not in INPUT_TYPES or not 0 < count <= MAX_BATCH_ROWS:
        raise ProtocolError(
            f"a batch has a known input type and 1 to {MAX_BATCH_ROWS} rows, not type {code}, {count} rows"
        )
    view = memoryview(payload)
    table_at = BATCH_PREFIX.size + 8 * count
    rows_at = table_at if uniform else table_at + _padded_size(_LENGTH.size * count)
    if len(payload) < rows_at:
        raise ProtocolError(f"a batch of {count} rows has at least {rows_at} bytes, {len(payload)} came")
    lengths = None if uniform else struct.unpack_from(f"<{count}I", payload, table_at)
    expected = row_bytes * count if lengths is None else sum(lengths)
    if len(payload) - rows_at != expected:
        raise ProtocolError(f"the rows of the batch have {expected} bytes by its prefix, {len(payload) - rows_at} came")
    input_type = INPUT_TYPES[code]
    number_bytes = NUMBER_BYTES.get(input_type, 1)
    if number_bytes > 1 and any(length % number_bytes for length in ((row_bytes,) if lengths is None else lengths)):
        raise ProtocolError(f"rows of {input_type} are multiples of {number_bytes} bytes")
    return BatchView(
        input_type, count, row_bytes if uniform else None, view[BATCH_PREFIX.size : table_at], lengths, view[rows_at:]
    )


def encode_reply(
    batch_id: int, count: int, lines: bytes, errors: Sequence[tuple[int, ItemError]], wait_s: float, run_s: float
) -> bytes:
    """A REPLY frame: ``lines`` has a JSON fragment and a newline for each row, only a newline for a row in ``errors``.

    JSON needs no newline outside of strings and escapes those inside, so that one split in C finds the fragments.
    Outputs that do not fit into a frame become an error of every row.
    """
    table = msgspec.json.encode([(i, error.code, error.message) for i, error in errors]) if errors else b""
    size = REPLY_PREFIX.size + len(table) + len(lines)
    if size > MAX_FRAME_BYTES:
        sentence = f"the outputs of this batch have {size} bytes; a frame has at most {MAX_FRAME_BYTES}"
        return encode_failure(batch_id, count, ItemError("model_error", sentence), wait_s, run_s)
    header = HEADER.pack(MAGIC, PROTOCOL_VERSION, Kind.REPLY, 0, size, batch_id)
    return b"".join((header, REPLY_PREFIX.pack(count, len(table), wait_s, run_s), table, lines))


def encode_failure(batch_id: int, count: int, error: ItemError, wait_s: float, run_s: float) -> bytes:
    """A REPLY frame that has the same error for every row."""
    return encode_reply(batch_id, count, b"\n" * count, [(i, error) for i in range(count)], wait_s, run_s)


_error_table = msgspec.json.Decoder(list[tuple[int, str, str]])


def decode_reply(payload: bytearray) -> BatchReply:
    """Takes a REPLY's payload apart.

    Raises:
        ProtocolError: The numbers of outputs, errors and rows do not agree.
    """
    if len(payload) < REPLY_PREFIX.size:
        raise ProtocolError(f"a reply starts with {REPLY_PREFIX.size} bytes of its own, {len(payload)} came")
    count, table_bytes, wait_s, run_s = REPLY_PREFIX.unpack_from(payload)
    table_end = REPLY_PREFIX.size + table_bytes
    outputs: list[bytes | ItemError] = bytes(memoryview(payload)[table_end:]).split(b"\n")  # type: ignore[assignment]  # errors take their places below
    if len(outputs) != count + 1 or outputs.pop() != b"":
        raise ProtocolError(f"a reply for {count} rows has {count} lines, {len(outputs)} came")
    if table_bytes:
        _place_errors(outputs, payload[REPLY_PREFIX.size : table_end])
    if b"" in outputs:
        raise ProtocolError("a row of the reply has neither an output nor an error")
    return BatchReply(outputs, wait_s, run_s)


def _place_errors(outputs: list[bytes | ItemError], table: bytearray) -> None:
    try:
        errors = _error_table.decode(table)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"the errors of a reply are a list of [row, code, message]: {error}") from error
    for i, code, message in errors:
        if not 0 <= i < len(outputs):
            raise ProtocolError(f"the reply has an error for row {i} of {len(outputs)}")
        outputs[i] = ItemError(code, message)


def _padded_size(size: int) -> int:
    return -(-size // 8) * 8


def _padded(table: bytes) -> bytes:
    """The rows behind a table start at a multiple of 8, as doubles want it."""
    return table.ljust(_padded_size(len(table)), b"\0")
