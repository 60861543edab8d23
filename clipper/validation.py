"""From a failed validation to the sentence that a user reads."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from clipper.errors import InvalidRequest
from clipper.frozen import NAME_PATTERN

_MAX_SHOWN_CHARS = 80
_MAX_FAULTS = 3

M = TypeVar("M", bound=BaseModel)


def validated(kind: type[M], value: Any, what: str) -> M:
    """``value`` as a ``kind``; ``what`` names it in the error ("the application", "the manifest").

    Raises:
        InvalidRequest: The sentence names each field at fault, what was expected and what came.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise invalid_request(error, what, tuple(kind.model_fields)) from error


def invalid_request(error: ValidationError, what: str, known: tuple[str, ...] = ()) -> InvalidRequest:
    """The same failure as an error of ours; ``known`` lists the fields to offer when one is unknown."""
    return faults_as_error([dict(fault) for fault in error.errors(include_url=False)], what, known)


def faults_as_error(faults: Sequence[Mapping[str, Any]], what: str, known: tuple[str, ...] = ()) -> InvalidRequest:
    """The same for pydantic's list of faults, where a framework passes on nothing else."""
    sentences = [_sentence(fault, what, known) for fault in faults[:_MAX_FAULTS]]
    more = f" (and {len(faults) - _MAX_FAULTS} more)" if len(faults) > _MAX_FAULTS else ""
    text = "; ".join(sentences) + more + "."
    return InvalidRequest(text[0].upper() + text[1:])


def _sentence(fault: Mapping[str, Any], what: str, known: tuple[str, ...]) -> str:
    # In brackets: which kind of value it was taken for, where a field may be of several.
    path = ".".join(str(step) for step in fault["loc"] if not str(step).startswith("<"))
    field = f"'{path}' of {what}" if path else what
    match fault["type"]:
        case "missing" if not path:
            return f"{what} is empty; a JSON object is expected"
        case "missing":
            return f"{field} is missing"
        case "extra_forbidden":
            offer = f"; its fields are {', '.join(known)}" if known and len(fault["loc"]) == 1 else ""
            return f"{field} is not a field that is known{offer}"
        case "string_pattern_mismatch" if fault["ctx"]["pattern"] == NAME_PATTERN:
            expected = "must be lower-case letters and digits, with dashes between them"
        case "string_pattern_mismatch":
            expected = f"must match {fault['ctx']['pattern']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            expected = "must be a JSON object"
        case "value_error":
            return f"{field}: {fault['ctx']['error']}"
        case _:
            expected = re.sub(r"^\w+ should", "must", str(fault["msg"]))
            expected = expected if expected.startswith("must") else f"is wrong ({expected})"
    return f"{field} {expected}; {_shown(fault['input'])} came"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "..."
