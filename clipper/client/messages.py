"""Queries and answers as messages of ``clipper.v1``. Imported when gRPC is used, never before."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from clipper.client.prediction import Prediction
from clipper.errors import from_json
from clipper.json_encoding import encode
from clipper.protocols import Messages

_messages = Messages("clipper.v1")
_MAX_EXACT_INTEGER = 2**53
AT_ONCE = 64
"""Queries to a message of a stream, where so many are there."""


def predict_request(app: str, x: Any, options: Mapping[str, Any]) -> Any:
    """A ``PredictRequest``."""
    return _messages.PredictRequest(application=app, input=_input(x), **options)


def batch_request(app: str, xs: Iterable[Any], options: Mapping[str, Any]) -> Any:
    """A ``PredictBatchRequest``."""
    return _messages.PredictBatchRequest(application=app, inputs=[_input(x) for x in xs], **options)


def stream_request(app: str, xs: Sequence[Any], first: int, options: Mapping[str, Any]) -> Any:
    """A ``PredictStreamRequest``; the ids of its queries count from ``first``."""
    queries = [
        _messages.PredictRequest(application=app, input=_input(x), id=i, **options) for i, x in enumerate(xs, first)
    ]
    return _messages.PredictStreamRequest(queries=queries)


def bundles(xs: Iterable[Any]) -> Iterable[Sequence[Any]]:
    """The inputs, several at a time where they are all there; of an iterator, one when it comes."""
    at_once = AT_ONCE if hasattr(xs, "__len__") else 1
    inputs = iter(xs)
    while bundle := list(islice(inputs, at_once)):
        yield bundle


def reply_class(method: str) -> Any:
    """What a method is answered with."""
    replies = {"Predict": "Prediction", "PredictBatch": "PredictBatchReply", "PredictStream": "PredictStreamReply"}
    return getattr(_messages, replies[method])


def prediction(message: Any) -> Prediction:
    """The prediction that a ``Prediction`` stands for."""
    if message.HasField("error"):
        error = message.error
        body: dict[str, Any] = {"code": error.code, "error": error.message}
        if error.HasField("retry_after_ms"):
            body["retry_after_ms"] = error.retry_after_ms
        return Prediction(message.query_id, None, error=from_json(None, body))
    of_ensemble = message.HasField("confidence")
    return Prediction(
        query_id=message.query_id,
        output=json.loads(message.output),
        default=message.default,
        default_explanation=message.default_explanation or None,
        confidence=message.confidence if of_ensemble else None,
        models=tuple(message.models) or None,
        missing=tuple(message.missing) if of_ensemble or message.missing else None,
        fallback_explanation=message.fallback_explanation or None,
        explanation=json.loads(message.explanation) if message.explanation else None,
    )


def _input(x: Any) -> Any:
    """Arrays and bytes as their memory; everything else as JSON, which every input type has."""
    if isinstance(x, bytes | bytearray | memoryview):
        return _messages.Input(data=bytes(x))
    kind = getattr(getattr(x, "dtype", None), "kind", "")
    if kind not in tuple("fiu") or x.ndim != 1:
        return _messages.Input(json=encode(x))
    if x.dtype.name == "float32":
        return _messages.Input(floats=x.astype("<f4", copy=False).tobytes())
    if kind == "f" or not x.size or (abs(int(x.min())) <= _MAX_EXACT_INTEGER >= abs(int(x.max()))):
        return _messages.Input(doubles=x.astype("<f8", copy=False).tobytes())
    return _messages.Input(json=encode(x))
