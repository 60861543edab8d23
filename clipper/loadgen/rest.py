"""Clipper's own REST protocol: ``POST /{app}/predict``."""

from http import HTTPStatus

import msgspec

from clipper.loadgen.inputs import JsonOf
from clipper.loadgen.outcomes import ANSWERED, UNREADABLE, Outcome, default_because
from clipper.loadgen.plan import Target


class _Reply(msgspec.Struct):
    """The fields that matter of an answer or an error; every other one is skipped without being read."""

    default: bool = False
    default_explanation: str = ""
    code: str = ""


_decode = msgspec.json.Decoder(_Reply).decode


class RestDialect:
    """Writes requests and reads answers."""

    def __init__(self, target: Target, inputs: JsonOf) -> None:
        self._head = (
            f"POST /{target.application}/predict HTTP/1.1\r\nHost: {target.address}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._inputs = inputs

    def request(self, index: int) -> bytes:
        """The whole request for query ``index``."""
        value = self._inputs(index)
        return b'%b%d\r\n\r\n{"input":%b}' % (self._head, len(value) + 10, value)

    def outcome(self, status: int, body: bytes) -> Outcome:
        """What an answer says."""
        try:
            reply = _decode(body)
        except msgspec.MsgspecError:
            return UNREADABLE if status == HTTPStatus.OK else f"error:http_{status}"
        if status != HTTPStatus.OK:
            return f"error:{reply.code or f'http_{status}'}"
        return default_because(reply.default_explanation) if reply.default else ANSWERED
