"""Answers and errors to the messages of ``clipper.v1``."""

from collections.abc import Sequence
from typing import Any

import msgspec

from clipper.engine.answer import Answer
from clipper.errors import ClipperError
from clipper.protocols import Messages

_messages = Messages("clipper.v1")
_Prediction = _messages.Prediction
_Error = _messages.Error


def prediction(answer: Answer, number: int = 0) -> Any:
    """The ``Prediction`` of an answer; ``number`` is the id of its query in a stream."""
    error = answer.error
    if error is not None and not answer.default:
        return _Prediction(query_id=answer.query_id, error=error_message(error), id=number)
    message = _Prediction(query_id=answer.query_id, output=answer.output or b"null", id=number)
    if answer.models is not None:
        message.models.extend(answer.models)
    if answer.confidence is not None:
        message.confidence = answer.confidence
    if answer.missing is not None:
        message.missing.extend(answer.missing)
    if answer.fallback is not None:
        message.fallback_explanation = f"{answer.fallback.code}: {answer.fallback.message}"
    if answer.default:
        message.default = True
        message.default_explanation = answer.default_explanation or ""
    if answer.explanation is not None:
        message.explanation = msgspec.json.encode(answer.explanation)
    return message


def refusal(error: ClipperError, number: int) -> Any:
    """The ``Prediction`` of a query in a stream that never became one."""
    return _Prediction(error=error_message(error), id=number)


def batch(answers: Sequence[Answer]) -> Any:
    """The reply to a batch, in its order."""
    return _messages.PredictBatchReply(predictions=[prediction(answer) for answer in answers])


def outcome(outcomes: Sequence[ClipperError | None]) -> Any:
    """The reply to feedback."""
    rejected = [
        _messages.Rejected(index=i, error=error_message(error)) for i, error in enumerate(outcomes) if error is not None
    ]
    return _messages.UpdateReply(accepted=len(outcomes) - len(rejected), rejected=rejected)


def error_message(error: ClipperError) -> Any:
    """An error as part of a reply."""
    message = _Error(code=error.code, message=error.message)
    if error.retry_after_s is not None:
        message.retry_after_ms = error.retry_after_s * 1e3
    return message
