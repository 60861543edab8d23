"""What /openapi.json says about feedback."""

from typing import Any

from clipper_frontends.rest.documentation import ANY_INPUT, APPLICATION, ERROR, json_body
from clipper_frontends.rest.limits import MAX_UID_CHARS, MAX_UPDATE_ID_CHARS, MAX_UPDATES_PER_REQUEST

_LABEL = {"description": "What the output should have been: any JSON value that can be compared with it."}
_BY_QUERY = {
    "type": "object",
    "required": ["query_id", "label"],
    "properties": {
        "query_id": {"type": "string", "description": "Of the prediction that the label is for, as it came."},
        "label": _LABEL,
    },
    "additionalProperties": False,
}
_BY_INPUT = {
    "type": "object",
    "required": ["input", "label"],
    "properties": {
        "input": ANY_INPUT,
        "label": _LABEL,
        "uid": {"type": "string", "minLength": 1, "maxLength": MAX_UID_CHARS, "description": "Whose input it was."},
        "update_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_UPDATE_ID_CHARS,
            "description": "A name of the caller's for this piece of feedback; the same one counts once.",
        },
    },
    "additionalProperties": False,
}
_ONE = {"anyOf": [_BY_QUERY, _BY_INPUT]}
_LIST = {
    "type": "object",
    "required": ["updates"],
    "properties": {"updates": {"type": "array", "items": _ONE, "minItems": 1, "maxItems": MAX_UPDATES_PER_REQUEST}},
    "additionalProperties": False,
}
_REJECTED = {
    "type": "object",
    "required": ["index", "error", "code"],
    "properties": {"index": {"type": "integer"}, **ERROR["properties"]},  # type: ignore[dict-item]
}

UPDATE: dict[str, Any] = {
    "parameters": [APPLICATION],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [_BY_QUERY, _BY_INPUT, _LIST]},
                "examples": {
                    "by query": {"value": {"query_id": "AZQB...", "label": 3}},
                    "by input": {"value": {"input": [1.0, 2.5], "label": 3, "update_id": "order-17"}},
                    "list": {"value": {"updates": [{"query_id": "AZQB...", "label": 3}]}},
                },
            }
        },
    },
}
UPDATED: dict[int | str, dict[str, Any]] = {
    200: json_body(
        {
            "type": "object",
            "required": ["accepted"],
            "properties": {
                "accepted": {"type": "integer", "description": "So many are committed, and count from now on."},
                "rejected": {"type": "array", "items": _REJECTED, "description": "Of a list, where there are any."},
            },
        },
        "The feedback is committed.",
    ),
    400: json_body(ERROR, "`invalid_json`, `invalid_input`, `invalid_label` or `invalid_request`."),
    404: json_body(ERROR, "`unknown_application`."),
    405: json_body(ERROR, "`method_not_allowed`."),
    408: json_body(ERROR, "`request_timeout`: the request did not arrive in full in time."),
    409: json_body(ERROR, "`duplicate_feedback`: it was accepted before, and counts once."),
    410: json_body(ERROR, "`unknown_query`: the query_id is too old, foreign or unknown; send the input instead."),
    413: json_body(ERROR, "`too_large`."),
    415: json_body(ERROR, "`unsupported_media_type`: the body is compressed."),
    431: json_body(ERROR, "`headers_too_large`."),
    503: json_body(ERROR, "`store_unavailable`: it cannot be committed now, with Retry-After. `no_model_ready`."),
}
