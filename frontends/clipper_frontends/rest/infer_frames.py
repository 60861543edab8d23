"""Requests for inference that were read before, but for the numbers in them.

A client sends the same names, datatypes and shapes again and again; reading and checking them costs more than reading
ten numbers does. What surrounds the numbers, byte for byte, is a frame: the same bytes around other numbers mean the
same request with other numbers. Nothing is decided anew here: a frame is learned only from a request that was read the
general way, and only where it is certain which bytes were its numbers.
"""

from typing import Any, NamedTuple

from clipper_container.tensors import BYTES
from clipper_frontends.oip.json_data import JsonDataReader
from clipper_frontends.oip.request import InferRequest, InferTensor

MAX_FRAMES = 1024
MAX_FRAME_BYTES = 2048
"""Of what surrounds the numbers: the memory is bounded to the product of both."""

_DATA = b'"data"'


class Parts(NamedTuple):
    """A JSON body around its first list behind a ``"data"``."""

    before: bytes
    numbers: bytes
    behind: bytes

    @property
    def frame(self) -> tuple[bytes, bytes]:
        """What surrounds the numbers."""
        return self.before, self.behind


class InferFrames:
    """Frames of requests with one tensor of numbers; a full table starts anew."""

    __slots__ = ("_data", "_of_binary", "_of_json")

    def __init__(self, data: JsonDataReader) -> None:
        self._data = data
        self._of_json: dict[tuple[bytes, bytes], InferRequest] = {}
        self._of_binary: dict[tuple[bytes, int], InferRequest] = {}

    def read_json(self, body: bytes) -> InferRequest | None:
        """The request of a body without binary tensors; None where the general way has to look."""
        parts = _parts(body)
        known = self._of_json.get(parts.frame) if parts is not None else None
        if parts is None or known is None:
            return None
        old = known.inputs[0]
        data = self._data.flat(old.name, old.datatype, old.shape, parts.numbers)
        return None if data is None else _with(known, data)

    def read_binary(self, body: bytes, json_bytes: int) -> InferRequest | None:
        """The request of a body with one binary tensor behind its JSON; None where the general way has to look."""
        known = self._of_binary.get((body[:json_bytes], len(body)))
        if known is None:
            return None
        return _with(known, memoryview(body)[json_bytes:])

    def learn_json(self, body: bytes, text: bytes, request: InferRequest) -> None:
        """``body`` was read the general way, as ``request``, and ``text`` was the data of its only tensor."""
        parts = _parts(body)
        if parts is None or not _is_numeric(request) or len(parts.before) + len(parts.behind) > MAX_FRAME_BYTES:
            return
        # A tensor may be called "data", too: then this list is its shape. Its data is here if it is nowhere else.
        if parts.numbers == text and body.count(text) == 1:
            _keep(self._of_json, parts.frame, _with(request, b""))

    def learn_binary(self, body: bytes, json_bytes: int, request: InferRequest) -> None:
        """``body`` was read the general way, as ``request``; its only tensor is all that is behind the JSON."""
        if json_bytes <= MAX_FRAME_BYTES and _is_numeric(request):
            _keep(self._of_binary, (body[:json_bytes], len(body)), _with(request, b""))


def _is_numeric(request: InferRequest) -> bool:
    return request.inputs[0].datatype not in {BYTES, "BOOL"}


def _keep(frames: dict[Any, InferRequest], frame: Any, request: InferRequest) -> None:
    if len(frames) >= MAX_FRAMES:
        frames.clear()
    frames[frame] = request


def _with(request: InferRequest, data: Any) -> InferRequest:
    """The request with other numbers."""
    old = request.inputs[0]
    tensor = InferTensor(old.name, old.datatype, old.shape, data)
    return InferRequest((tensor,), request.id, request.parameters, request.outputs)


def _parts(body: bytes) -> Parts | None:
    start = body.find(b"[", body.find(_DATA))
    end = body.find(b"]", start) + 1
    return Parts(body[:start], body[start:end], body[end:]) if 0 < start < end else None
