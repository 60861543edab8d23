"""What /openapi.json says about predictions, health and metrics."""

from typing import Any

ANY_INPUT = {
    "description": "By the application's input type: doubles, floats, integers: a flat list of numbers; strings: a "
    "string; bytes: base64; json: any JSON value.",
    "examples": [[1.0, 2.5]],
}
ERROR = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string", "description": "A sentence: what was expected, what came, what to do."},
        "code": {"type": "string", "examples": ["invalid_input"]},
        "retry_after_ms": {"type": "integer", "minimum": 1, "description": "Where waiting helps."},
    },
}
_PREDICTION = {
    "type": "object",
    "required": ["query_id", "output", "default"],
    "properties": {
        "query_id": {"type": "string"},
        "output": {"description": "What the model returned, or the application's default output."},
        "default": {"type": "boolean"},
        "default_explanation": {"type": "string", "description": "'<machine_code>: <sentence>' when default is true."},
        "models": {"type": "array", "items": {"type": "string"}},
        "confidence": {"type": "number"},
        "missing": {"type": "array", "items": {"type": "string"}, "description": "Of the models: late, or raised."},
        "fallback_explanation": {
            "type": "string",
            "description": "'<machine_code>: <sentence>' where the policy failed and the best known model answered.",
        },
        "explanation": {"type": "object"},
    },
}
_FAILED_ELEMENT = {
    "type": "object",
    "required": ["query_id", "error", "code"],
    "properties": {"query_id": {"type": "string"}, **ERROR["properties"]},  # type: ignore[dict-item]
}
_OPTIONS = {
    "uid": {"type": "string", "minLength": 1, "maxLength": 256, "description": "Context of the selection."},
    "timeout_ms": {"type": "number", "exclusiveMinimum": 0, "description": "Shortens the application's SLO."},
    "version": {
        "anyOf": [{"type": "string", "minLength": 1, "maxLength": 63}, {"type": "integer"}],
        "description": "Forces a version of the model; under the policy 'single' only.",
    },
    "explain": {"type": "boolean", "description": "Return how the answer came about."},
}


def _request(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [field],
        "properties": {field: schema, **_OPTIONS},
        "additionalProperties": False,
    }


def json_body(schema: dict[str, Any], description: str) -> dict[str, Any]:
    """A response whose body is JSON of that schema."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


ERRORS: dict[int | str, dict[str, Any]] = {
    400: json_body(ERROR, "`invalid_json`, `invalid_input` or `invalid_request`; the sentence names the field."),
    404: json_body(ERROR, "`unknown_application`, `unknown_version`."),
    405: json_body(ERROR, "`method_not_allowed`."),
    408: json_body(ERROR, "`request_timeout`: the request did not arrive in full in time."),
    413: json_body(ERROR, "`too_large`."),
    415: json_body(ERROR, "`unsupported_media_type`: the body is compressed."),
    429: json_body(ERROR, "`overloaded`: refused on arrival, with Retry-After."),
    431: json_body(ERROR, "`headers_too_large`."),
    500: json_body(ERROR, "`model_error`: the model raised."),
    503: json_body(ERROR, "`no_model_ready`, with Retry-After."),
    504: json_body(ERROR, "`deadline_exceeded`."),
}
APPLICATION: dict[str, Any] = {
    "name": "app",
    "in": "path",
    "required": True,
    "description": "Name of the application.",
    "schema": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
}
_JSON_BYTES: dict[str, Any] = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "The length of the JSON, where numbers follow it as an array's memory (row-major, little-endian); "
    'the value of `input` or `input_batch` is then `{"datatype": "FP64", "shape": [10]}`.',
    "schema": {"type": "integer", "minimum": 1},
}
PREDICT: dict[str, Any] = {
    "parameters": [APPLICATION, _JSON_BYTES],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        _request("input", ANY_INPUT),
                        _request("input_batch", {"type": "array", "items": ANY_INPUT, "minItems": 1}),
                    ]
                },
                "examples": {
                    "one": {"value": {"input": [1.0, 2.5]}},
                    "batch": {"value": {"input_batch": [[1.0, 2.5], [0.5, 4.0]], "timeout_ms": 15}},
                },
            }
        },
    },
}
PREDICTED: dict[int | str, dict[str, Any]] = {
    200: json_body(
        {
            "anyOf": [
                _PREDICTION,
                {
                    "type": "object",
                    "required": ["batch_predictions"],
                    "properties": {
                        "batch_predictions": {"type": "array", "items": {"anyOf": [_PREDICTION, _FAILED_ELEMENT]}}
                    },
                },
            ]
        },
        "The prediction; for an `input_batch` a list in its order.",
    ),
    **ERRORS,
}
HEALTH: dict[int | str, dict[str, Any]] = {503: json_body(ERROR, "Not ready; the sentence says why.")}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "As Prometheus or, where it is accepted, OpenMetrics text.",
        "content": {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")},
    },
    503: json_body(ERROR, "Not now; the sentence says why."),
}
