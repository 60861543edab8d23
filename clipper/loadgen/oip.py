"""The Open Inference Protocol over REST: ``POST /v2/models/{app}/infer``, the input as a binary tensor."""

import struct
from http import HTTPStatus

import msgspec

from clipper.loadgen.inputs import BYTES, TensorOf
from clipper.loadgen.outcomes import ANSWERED, UNREADABLE, Outcome, default_because
from clipper.loadgen.plan import Target

_ITEM_BYTES = {"FP64": 8, "FP32": 4, "INT32": 4}
_length = struct.Struct("<I").pack


class _Parameters(msgspec.Struct):
    default: bool = False
    default_explanation: str = ""


class _Reply(msgspec.Struct):
    """The fields that matter of an answer or an error; every other one is skipped without being read."""

    parameters: _Parameters | None = None
    code: str = ""


_decode = msgspec.json.Decoder(_Reply).decode


class OipDialect:
    """Writes requests and reads answers."""

    def __init__(self, target: Target, tensors: TensorOf) -> None:
        self._start = (
            f"POST /v2/models/{target.application}/infer HTTP/1.1\r\nHost: {target.address}\r\n"
            "Content-Type: application/octet-stream\r\n"
        )
        self._tensors = tensors
        self._heads: dict[tuple[str, int], bytes] = {}

    def request(self, index: int) -> bytes:
        """The whole request for query ``index``."""
        datatype, data = self._tensors(index)
        if datatype == BYTES:
            data = _length(len(data)) + data
        head = self._heads.get((datatype, len(data)))
        if head is None:
            head = self._heads[datatype, len(data)] = self._head(datatype, len(data))
        return head + data

    def _head(self, datatype: str, data_bytes: int) -> bytes:
        """Everything before the tensor: of inputs of one length it is always the same."""
        shape = [1] if datatype == BYTES else [1, data_bytes // _ITEM_BYTES[datatype]]
        tensor = {"name": "input", "datatype": datatype, "shape": shape}
        body = msgspec.json.encode({"inputs": [tensor | {"parameters": {"binary_data_size": data_bytes}}]})
        lengths = f"Inference-Header-Content-Length: {len(body)}\r\nContent-Length: {len(body) + data_bytes}\r\n\r\n"
        return (self._start + lengths).encode() + body

    def outcome(self, status: int, body: bytes) -> Outcome:
        """What an answer says."""
        try:
            reply = _decode(body)
        except msgspec.MsgspecError:
            return UNREADABLE if status == HTTPStatus.OK else f"error:http_{status}"
        if status != HTTPStatus.OK:
            return f"error:{reply.code or f'http_{status}'}"
        said = reply.parameters
        return default_because(said.default_explanation) if said is not None and said.default else ANSWERED
