"""A server of the Open Inference Protocol as its specification has it, independent of what is tested.

It takes the messages' bytes apart itself (varints and lengths, no protobuf), so that a wrong field number cannot agree
with itself.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio

SERVICE = "inference.GRPCInferenceService"


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: an int, or bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        else:
            assert tag & 7 == 2, "only varints and lengths are sent here"
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 128:
            return value, at


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, value: int | str | bytes) -> bytes:
    """A field with its tag."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def packed(number: int, values: list[int]) -> bytes:
    return field(number, b"".join(map(varint, values)))


def tensor(name: str, datatype: str, shape: list[int], contents: bytes = b"") -> bytes:
    """TensorMetadata, or an output with its typed contents."""
    return field(1, name) + field(2, datatype) + packed(3, shape) + (field(5, contents) if contents else b"")


class Request:
    """A ModelInferRequest."""

    def __init__(self, message: bytes) -> None:
        found = list(fields(message))
        self.model = next(value for number, value in found if number == 1).decode()
        self.version = next((value.decode() for number, value in found if number == 2), "")
        inputs = [dict(fields(value)) for number, value in found if number == 5]
        assert len(inputs) == 1
        self.name, self.datatype = inputs[0][1].decode(), inputs[0][2].decode()
        self.shape = [size for size, _ in _varints(inputs[0][3])]
        self.raw = next(value for number, value in found if number == 7)

    def rows(self) -> list[tuple[float, ...]]:
        """The rows of FP64."""
        width = self.shape[1]
        values = struct.unpack(f"<{self.shape[0] * width}d", self.raw)
        return [values[i : i + width] for i in range(0, len(values), width)]

    def texts(self) -> list[bytes]:
        found, at = [], 0
        while at < len(self.raw):
            length = int.from_bytes(self.raw[at : at + 4], "little")
            found.append(self.raw[at + 4 : at + 4 + length])
            at += 4 + length
        return found


def _varints(data: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value, at


Answer = Callable[[Request, grpc.aio.ServicerContext], Awaitable[bytes]]


class Reference:
    """Serves the model ``sum``: what the test sets is how it answers. ``seen`` has the requests."""

    def __init__(self) -> None:
        self.ready = True
        self.metadata = field(1, "sum") + field(4, tensor("x", "FP64", [-1, 2])) + field(5, tensor("y", "FP64", [-1]))
        self.answer: Answer = sums
        self.seen: list[Request] = []
        self.remaining_s: list[float] = []
        self.asked_ready = asyncio.Event()
        self.port = 0
        self._server: grpc.aio.Server | None = None

    async def start(self) -> "Reference":
        """Listens, at the port that it had before if it had one."""
        self._server = grpc.aio.server()
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(handle)
            for name, handle in {
                "ModelReady": self._model_ready,
                "ModelMetadata": self._model_metadata,
                "ModelInfer": self._model_infer,
            }.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    @property
    def address(self) -> str:
        return f"grpc://127.0.0.1:{self.port}/sum"

    async def _model_ready(self, _request: bytes, _context: Any) -> bytes:
        self.asked_ready.set()
        return field(1, 1) if self.ready else b""

    async def _model_metadata(self, _request: bytes, _context: Any) -> bytes:
        return self.metadata

    async def _model_infer(self, message: bytes, context: Any) -> bytes:
        request = Request(message)
        self.seen.append(request)
        self.remaining_s.append(context.time_remaining())
        return await self.answer(request, context)


async def sums(request: Request, context: Any) -> bytes:
    """One FP64 per row, raw; a row that begins with a negative number makes the request fail."""
    rows = request.rows()
    if any(row[0] < 0 for row in rows):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "negative")
    raw = struct.pack(f"<{len(rows)}d", *map(sum, rows))
    return field(1, "sum") + field(5, tensor("y", "FP64", [len(rows), 1])) + field(6, raw)


async def typed_sums(request: Request, _context: Any) -> bytes:
    """The same in typed contents, as MLServer answers; and a second output, of text."""
    rows = request.rows()
    numbers = field(7, struct.pack(f"<{len(rows)}d", *map(sum, rows)))
    words = b"".join(field(8, f"n{len(row)}\0") for row in rows)
    return field(5, tensor("y", "FP64", [len(rows)], numbers)) + field(5, tensor("w", "BYTES", [len(rows)], words))


async def shouts(request: Request, _context: Any) -> bytes:
    """BYTES in capitals, raw."""
    upper = [text.upper() for text in request.texts()]
    raw = b"".join(len(text).to_bytes(4, "little") + text for text in upper)
    return field(5, tensor("y", "BYTES", [len(upper)])) + field(6, raw)
