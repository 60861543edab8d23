"""Answers and errors to the bytes of replies."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from clipper.engine.answer import Answer
from clipper.errors import ClipperError, Unauthenticated

JSON = b"application/json"
_encode = msgspec.json.encode


class Reply(NamedTuple):
    """Status, body, and further headers as (name, value)."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    content_type: bytes = JSON


class DefaultHeaders(Protocol):
    """Where the headers of every reply are kept; uvicorn replaces the list once a second, with a new date."""

    default_headers: list[tuple[bytes, bytes]]


def reply_to_query(answer: Answer) -> Reply:
    """The reply to a request with one ``input``."""
    if answer.error is not None and not answer.default:
        return reply_of_error(answer.error)
    return Reply(200, prediction(answer))


def reply_to_batch(answers: Iterable[Answer]) -> Reply:
    """The reply to a request with an ``input_batch``: a list in its order, failed elements with their error."""
    return Reply(200, b'{"batch_predictions":[%b]}' % b",".join(map(_element, answers)))


def reply_of_error(error: ClipperError, headers: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    """The reply that carries an error: with ``Retry-After`` in whole seconds where waiting helps, and how to log in."""
    if error.retry_after_s is not None:
        headers = [*headers, (b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s)))]
    if isinstance(error, Unauthenticated):
        headers = [*headers, (b"www-authenticate", b"Bearer")]
    return Reply(error.http_status, _encode(error.to_json()), headers)


def prediction(answer: Answer) -> bytes:
    """An output, or a default with its reason, as JSON. The output is spliced in as the container wrote it."""
    output = answer.output if answer.output is not None else b"null"
    if answer.explanation is None and answer.missing is None and answer.fallback is None and not answer.default:
        if answer.models is None:
            return b'{"query_id":"%b","output":%b,"default":false}' % (answer.query_id.encode(), output)
        models = _encode(answer.models)
        return b'{"query_id":"%b","output":%b,"default":false,"models":%b}' % (answer.query_id.encode(), output, models)
    default = b"true" if answer.default else b"false"
    body = b'{"query_id":"%b","output":%b,"default":%b' % (answer.query_id.encode(), output, default)
    further: dict[str, Any] = {}
    if answer.models is not None:
        further["models"] = answer.models
    if answer.confidence is not None:
        further["confidence"] = answer.confidence
    if answer.missing is not None:
        further["missing"] = answer.missing
    if answer.fallback is not None:
        further["fallback_explanation"] = f"{answer.fallback.code}: {answer.fallback.message}"
    if answer.default:
        further["default_explanation"] = answer.default_explanation
    if answer.explanation is not None:
        further["explanation"] = answer.explanation
    return b"%b,%b" % (body, _encode(further)[1:]) if further else body + b"}"


def _element(answer: Answer) -> bytes:
    if answer.error is not None and not answer.default:
        return _encode({"query_id": answer.query_id, **answer.error.to_json()})
    return prediction(answer)
