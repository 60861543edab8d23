"""Queries and answers as messages of ``clipper.v1``. Imported when gRPC is used, never before."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from clipper.client.arrays import array_memory, is_array
from clipper.client.feedback import Rejected
from clipper.client.prediction import Prediction
from clipper.errors import BadRequest, ClipperError, from_json
from clipper.json_encoding import encode
from clipper.protocols import Messages

_messages = Messages("clipper.v1")
_MIN_I32, _MAX_I32 = -(2**31), 2**31 - 1
_FEEDBACK_FIELDS = ("query_id", "input", "label", "uid", "update_id")
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
    return getattr(_messages, "Prediction" if method == "Predict" else f"{method}Reply")


def prediction(message: Any) -> Prediction:
    """The prediction that a ``Prediction`` stands for."""
    if message.HasField("error"):
        return Prediction(message.query_id, None, error=_error(message.error))
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


def feedback(fields: Mapping[str, Any], where: str = "") -> Any:
    """A ``Feedback`` of the arguments of ``update``; ``where`` is put before the names of fields in errors.

    Raises:
        BadRequest: No message can be this: it has an unknown field, no label, or not one of query_id and input.
        InvalidInput: The input or the label has no form in JSON.
    """
    for name in fields:
        if name not in _FEEDBACK_FIELDS:
            known = ", ".join(_FEEDBACK_FIELDS)
            raise BadRequest(f"'{where}{name}' is not a field of feedback; its fields are {known}.")
    if "label" not in fields:
        raise BadRequest(f"'{where}label' is missing: it says what the right answer was.")
    if ("query_id" in fields) == ("input" in fields):
        both = "both came" if "input" in fields else "neither came"
        raise BadRequest(f"Exactly one of '{where}query_id' and '{where}input' is required; {both}.")
    given = dict(fields) | {"label": json_of(fields["label"], "label")}
    for name in {"query_id", "uid", "update_id"} & given.keys():
        if not isinstance(given[name], str) or not given[name]:
            raise BadRequest(f"'{where}{name}' must be a string that is not empty, got {given[name]!r}.")
    return _messages.Feedback(**given | ({"input": _input(given["input"])} if "input" in given else {}))


def update_request(app: str, updates: Sequence[Any]) -> Any:
    """An ``UpdateRequest``."""
    return _messages.UpdateRequest(application=app, updates=updates)


def rejected(reply: Any) -> list[Rejected]:
    """What an ``UpdateReply`` says was not accepted."""
    return [Rejected(one.index, _error(one.error)) for one in reply.rejected]


def json_of(value: Any, name: str) -> bytes:
    """One value as JSON; ``name`` names it in the error.

    Raises:
        InvalidInput: It has no form in JSON.
    """
    return encode({name: value})[len(name) + 4 : -1]


def _error(message: Any) -> ClipperError:
    body: dict[str, Any] = {"code": message.code, "error": message.message}
    if message.HasField("retry_after_ms"):
        body["retry_after_ms"] = message.retry_after_ms
    return from_json(None, body)


def _tensors(x: Any) -> Any:
    """Arrays of several dimensions, or several arrays; None for everything else."""
    named = x if type(x) is dict else {"": x}
    if not named or not all(type(name) is str and is_array(part) for name, part in named.items()):
        return None
    tensors = []
    for name, part in named.items():
        memory = array_memory(part)
        if memory is None:
            return None
        tensors.append(_messages.Tensor(name=name, data=memory.data, **memory.description))
    return _messages.Tensors(tensors=tensors)


def _input(x: Any) -> Any:
    """Arrays and bytes as their memory; everything else as JSON, which every input type has."""
    if isinstance(x, bytes | bytearray | memoryview):
        return _messages.Input(data=bytes(x))
    if not is_array(x) or x.ndim != 1 or (kind := x.dtype.kind) not in tuple("fiu"):
        tensors = _tensors(x)
        return _messages.Input(tensors=tensors) if tensors else _messages.Input(json=json_of(x, "input"))
    if x.dtype.name == "float32":
        return _messages.Input(floats=x.astype("<f4", copy=False).tobytes())
    if kind == "f":
        return _messages.Input(doubles=x.astype("<f8", copy=False).tobytes())
    if x.size and int(x.min()) >= _MIN_I32 and int(x.max()) <= _MAX_I32:
        return _messages.Input(integers=x.astype("<i4", copy=False).tobytes())
    return _messages.Input(json=json_of(x, "input"))
