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
        models: The models that answered, as ``model:version``; None under the policy ``single``.
        missing: Members of the ensemble that were late or raised; None without an ensemble.
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
        explanation=body.get("explanation"),
    )


def _names(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)
