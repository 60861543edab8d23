"""What the OpenAPI document says about the Open Inference Protocol."""

from typing import Any

from clipper_frontends.rest.documentation import ERROR, json_body

_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "example": "FP64"},
        "shape": {"type": "array", "items": {"type": "integer"}, "example": [1, 3]},
        "data": {"type": "array", "items": {}, "example": [1.0, 2.0, 3.0]},
        "parameters": {"type": "object"},
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object", "description": "`timeout` (microseconds), `uid`, `explain`."},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {"type": "array", "items": {"type": "object"}},
    },
}
_RESPONSE = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}

_CHANGE = {
    "type": "object",
    "properties": {
        "parameters": {"type": "object", "properties": {"version": {"type": "string"}}},
    },
}

CHANGE: dict[str, Any] = {"requestBody": {"content": {"application/json": {"schema": _CHANGE}}}}
CHANGED: dict[int | str, dict[str, Any]] = {
    400: json_body(ERROR, "`invalid_request`."),
    401: json_body(ERROR, "`unauthenticated`: the admin token is asked for."),
    403: json_body(ERROR, "`forbidden`."),
    404: json_body(ERROR, "`unknown_model`, `unknown_version`."),
    409: json_body(ERROR, "`conflict`: somebody else changed it meanwhile, or there is nothing to load."),
    503: json_body(ERROR, "`no_model_ready`: it failed, or is not ready yet."),
}
INFER: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}}}
FAILED: dict[int | str, dict[str, Any]] = {
    404: json_body(ERROR, "`unknown_model`, `unknown_version`."),
    503: json_body(ERROR, "`unavailable`: no replica is ready."),
}
INFERRED: dict[int | str, dict[str, Any]] = {
    200: json_body(_RESPONSE, "The output tensors; query ids, defaults and confidence in `parameters`."),
    400: json_body(ERROR, "`invalid_json`, `invalid_input`, `invalid_request`."),
    404: json_body(ERROR, "`unknown_model`, `unknown_version`."),
    429: json_body(ERROR, "`overloaded`."),
    500: json_body(ERROR, "`model_error`."),
    503: json_body(ERROR, "`no_model_ready`."),
    504: json_body(ERROR, "`deadline_exceeded`."),
}
