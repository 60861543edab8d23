"""What a prediction query is answered with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipper.errors import ClipperError, from_json


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer.

    Attributes:
        query_id: Names this answer in feedback.
        output: What the model, or the ensemble, said; the application's default output where ``default`` is true.
        default: Whether the default output answered because no model could.
        default_explanation: ``"<machine_code>: <sentence>"``, where ``default`` is true.
        confidence: How much of the ensemble agrees, 0 to 1; None without an ensemble.
        models: The models that were asked, as ``model:version``; None under the policy ``single``.
        missing: Those of them that were late or raised, in an ensemble; None without one.
        fallback_explanation: ``"<machine_code>: <sentence>"``, where the selection policy failed and the best known
            model answered.
        explanation: The decision behind the answer, where it was asked for.
        error: Why there is no answer. Only in the answers of ``predict_batch``; ``predict`` raises it.
    """

    query_id: str
    output: Any
    default: bool = False
    default_explanation: str | None = None
    confidence: float | None = None
    models: tuple[str, ...] | None = None
    missing: tuple[str, ...] | None = None
    fallback_explanation: str | None = None
    explanation: dict[str, Any] | None = None
    error: ClipperError | None = None


def from_body(body: Mapping[str, Any]) -> Prediction:
    """The prediction that an answer of the query API stands for."""
    if "error" in body:
        return Prediction(str(body.get("query_id", "")), None, error=from_json(None, body))
    return Prediction(
        query_id=body["query_id"],
        output=body["output"],
        default=body.get("default", False),
        default_explanation=body.get("default_explanation"),
        confidence=body.get("confidence"),
        models=_names(body.get("models")),
        missing=_names(body.get("missing")),
        fallback_explanation=body.get("fallback_explanation"),
        explanation=body.get("explanation"),
    )


def _names(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)
