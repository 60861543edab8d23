"""Queries and answers as messages of ``clipper.v1``, for calls and for streams."""

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

from clipper.errors import Unreachable
from clipper.loadgen.inputs import BYTES, open_inputs, open_tensors
from clipper.loadgen.outcomes import ANSWERED, TIMED_OUT, Outcome, default_because
from clipper.loadgen.plan import InputSource
from clipper.protocols import Messages

SERVICE = "/clipper.v1.Clipper/"
CONNECT_TIMEOUT_S = 5.0
messages: Any = Messages("clipper.v1")
_FIELDS = {"FP64": "doubles", "FP32": "floats", "INT32": "integers", BYTES: "json"}

QueryOf: TypeAlias = Callable[[int], Any]
"""Query ``index`` as a ``PredictRequest``; its ``id`` is the index."""


def open_queries(application: str, source: InputSource, seed: int) -> QueryOf:
    """The queries of a run. Numbers go as their memory, everything else as JSON.

    Raises:
        InvalidInput: The inputs cannot be read or drawn.
    """
    request, value = messages.PredictRequest, messages.Input
    if source.input_type in {"doubles", "floats", "integers"}:
        tensors = open_tensors(source, seed)

        def numbers(index: int) -> Any:
            datatype, data = tensors(index)
            return request(application=application, input=value(**{_FIELDS[datatype]: data}), id=index)

        return numbers
    inputs = open_inputs(source, seed)
    return lambda index: request(application=application, input=value(json=inputs(index)), id=index)


def outcome(prediction: Any) -> Outcome:
    """What a ``Prediction`` says; only in streams it can have an error."""
    if prediction.HasField("error"):
        return f"error:{prediction.error.code}"
    return default_because(prediction.default_explanation) if prediction.default else ANSWERED


def failure(error: Any) -> Outcome:
    """What a call's ``RpcError`` says."""
    for key, value in error.trailing_metadata() or ():
        if key == "clipper-code":
            return f"error:{value}"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TIMED_OUT
    kind = "lost" if error.code() is grpc.StatusCode.UNAVAILABLE else "error"
    return f"{kind}:grpc_{error.code().name.lower()}"


def unreachable(address: str) -> Unreachable:
    """There is no server."""
    return Unreachable(f"Cannot reach {address} for gRPC. Is the server up (clipper up)?")
