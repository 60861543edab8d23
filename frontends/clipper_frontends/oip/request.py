"""A request for inference, however it came, and the queries that it asks: one for each row of its tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from clipper.domain import Query
from clipper.errors import InvalidInput, InvalidRequest
from clipper.inputs import shown
from clipper_container.tensors import BYTES, DATATYPES, MalformedTensor, count_elements, split_elements
from clipper_frontends.oip.names import Target
from clipper_frontends.oip.rows import rows_of
from clipper_frontends.rest.limits import MAX_UID_CHARS

MAX_TIMEOUT_US = 1 << 62
MAX_ID_CHARS = 1024

Parameter = bool | int | float | str
Parameters = Mapping[str, Any]
"""By name; values are `Parameter`. What this server does not know is left alone, as the protocol has it."""

_STATEFUL = ("sequence_start", "sequence_end")


class InferTensor(msgspec.Struct, frozen=True, gc=False):
    """One input, checked: ``data`` has as many elements as ``shape`` says.

    ``shape`` is at most `clipper_container.tensors.MAX_RANK` sizes from 1 on, the batch first. ``data`` are the
    elements, row-major and little-endian, as anything with the buffer protocol; for BYTES a list of bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any


class RequestedOutput(msgspec.Struct, frozen=True, gc=False):
    """An output that is wanted; where a request names none, all are."""

    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct, frozen=True, gc=False):
    """What is asked of one model. ``id`` comes back in the response."""

    inputs: Sequence[InferTensor]
    id: str = ""
    parameters: Parameters = {}
    outputs: Sequence[RequestedOutput] = ()


def checked_id(text: str) -> str:
    """The id of a request.

    Raises:
        InvalidRequest: It is longer than one may be.
    """
    if len(text) > MAX_ID_CHARS:
        raise InvalidRequest(f"'id' must be a string of at most {MAX_ID_CHARS} characters, got {len(text)}.")
    return text


def tensor_of_bytes(name: str, datatype: str, shape: tuple[int, ...], data: bytes | memoryview) -> InferTensor:
    """An input from its binary form. Nothing is copied but the elements of BYTES.

    Args:
        name: The input's.
        datatype: One that `clipper_frontends.oip.datatypes.check_datatype` lets pass.
        shape: One that `clipper_frontends.oip.datatypes.check_shape` made.
        data: The tensor and nothing else.

    Raises:
        InvalidInput: The bytes are more, fewer or others than the shape says.
    """
    count = count_elements(shape)
    if datatype == BYTES:
        try:
            return InferTensor(name, datatype, shape, split_elements(data, count))
        except MalformedTensor as fault:
            raise InvalidInput(f"Input '{name}' {fault}.") from None
    expected = count * np.dtype(DATATYPES[datatype]).itemsize
    if len(data) != expected:
        raise InvalidInput(
            f"Input '{name}' must have {expected} bytes for {datatype} {list(shape)}, got {len(data)} bytes."
        )
    return InferTensor(name, datatype, shape, data)


def queries_of(request: InferRequest, target: Target, arrived_s: float) -> list[Query]:
    """The queries of a request, one for each row, in order.

    Raises:
        InvalidInput: A tensor is not what the target takes.
        InvalidRequest: A parameter is wrong, or asks for what is not served.
    """
    options = _options(request.parameters) if request.parameters else {}
    if target.version is not None:
        options["version"] = target.version
    key = target.key
    return [Query(key, row, arrived_s, **options) for row in rows_of(request.inputs, target)]


def _options(parameters: Parameters) -> dict[str, Any]:
    """What the parameters say about each query: ``timeout`` in microseconds, ``uid`` and ``explain``."""
    options: dict[str, Any] = {}
    timeout_us = parameters.get("timeout")
    if timeout_us is not None:
        if type(timeout_us) is not int or not 0 <= timeout_us <= MAX_TIMEOUT_US:
            raise InvalidRequest(
                f"The parameter 'timeout' must be a whole number of microseconds, got {shown(timeout_us)}."
            )
        if timeout_us:  # 0 is the protocol's word for no timeout of one's own
            options["timeout_ms"] = timeout_us / 1e3
    uid = parameters.get("uid")
    if uid is not None:
        if not isinstance(uid, str) or not 0 < len(uid) <= MAX_UID_CHARS:
            raise InvalidRequest(
                f"The parameter 'uid' must be a string of 1 to {MAX_UID_CHARS} characters, got {shown(uid)}."
            )
        options["uid"] = uid
    explain = parameters.get("explain")
    if explain is not None:
        if not isinstance(explain, bool):
            raise InvalidRequest(f"The parameter 'explain' must be true or false, got {shown(explain)}.")
        options["explain"] = explain
    if parameters.get("sequence_id") or any(parameters.get(name) for name in _STATEFUL):
        raise InvalidRequest("Sequences are not served: no model here keeps state between requests.")
    return options
