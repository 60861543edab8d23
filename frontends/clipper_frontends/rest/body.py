"""The body of a prediction request to queries; the one validator of both roads."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from clipper.domain import Query
from clipper.errors import InvalidInput, InvalidJson, InvalidRequest
from clipper.inputs import shown
from clipper_frontends.rest.limits import MAX_INPUTS_PER_REQUEST, MAX_UID_CHARS
from clipper_frontends.rest.rows import InputShape, RowReader, decode_json

_FIELDS = ("input", "input_batch", "uid", "timeout_ms", "version", "explain")
_MAX_VERSION_CHARS = 63

_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items_of = msgspec.json.Decoder(list[msgspec.Raw]).decode


class AskedApplication(InputShape, Protocol):
    """What decoding a request needs to know about its application."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def policy_name(self) -> str:
        """The name of its selection policy."""


def decode_body(body: bytes, app: AskedApplication, reader: RowReader, arrived_s: float) -> Query | list[Query]:
    """The query that a body asks, or the list of them where it has an ``input_batch``.

    Of a field that comes twice the last one counts, as in most JSON parsers.

    Raises:
        InvalidJson: The body is not JSON.
        InvalidInput: An input has the wrong type, width or range; the sentence names the element.
        InvalidRequest: Another field is missing, unknown or out of range.
    """
    row = reader.only_input(body, app)
    if row is not None:
        return Query(app.name, row, arrived_s)
    fields = fields_of(body)
    options = options_of(fields, app)
    if asked_field(fields) == "input":
        return Query(app.name, reader.read(bytes(fields["input"]), app, "input"), arrived_s, **options)
    return [
        Query(app.name, reader.read(bytes(item), app, f"input_batch[{i}]"), arrived_s, **options)
        for i, item in enumerate(_batch_items(fields["input_batch"]))
    ]


def fields_of(body: bytes) -> dict[str, msgspec.Raw]:
    """The fields of a query, each as its text.

    Raises:
        InvalidJson: The body is not JSON.
        InvalidRequest: It is no object, or has a field that no query has.
    """
    if not body or body.isspace():
        raise InvalidJson('The body is empty; send a JSON object such as {"input": [1.0, 2.0]}.')
    try:
        fields = _fields_of(body)
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The body must be a JSON object with an 'input': {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.{_hint(body)}") from None
    for name in fields:
        if name not in _FIELDS:
            raise InvalidRequest(f"{shown(name)} is not a field of a query; its fields are {', '.join(_FIELDS)}.")
    return fields


def _hint(body: bytes) -> str:
    """What Python, numpy and others write, and JSON does not have."""
    return " JSON has no NaN and no Infinity." if b"NaN" in body or b"Infinity" in body else ""


def _batch_items(text: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        items = _items_of(text)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidInput(
            f"input_batch must be a list of inputs, got {shown(decode_json(text, 'input_batch'))}."
        ) from None
    if not items:
        raise InvalidInput("input_batch must have at least one input, got an empty list.")
    if len(items) > MAX_INPUTS_PER_REQUEST:
        raise InvalidInput(
            f"input_batch has {len(items)} inputs; a request takes at most {MAX_INPUTS_PER_REQUEST}. Send several."
        )
    return items


def asked_field(fields: Mapping[str, msgspec.Raw]) -> str:
    """Which of the two fields a query may ask with it has.

    Raises:
        InvalidRequest: It has both, or none.
    """
    if ("input" in fields) == ("input_batch" in fields):
        both = "both came" if "input" in fields else "neither came"
        raise InvalidRequest(f"Exactly one of the fields 'input' and 'input_batch' is required; {both}.")
    return "input" if "input" in fields else "input_batch"


def options_of(fields: Mapping[str, msgspec.Raw], app: AskedApplication) -> dict[str, Any]:
    """What the other fields say about every query.

    Raises:
        InvalidRequest: One of them is out of range.
    """
    options: dict[str, Any] = {}
    for name, text in fields.items():
        if name in _READERS:
            options[name] = _READERS[name](_option(text, name))
    if "version" in options and app.policy_name != "single":
        raise InvalidRequest(
            f"'version' can be forced under the policy 'single' only; application '{app.name}' has '{app.policy_name}'."
        )
    return options


def _option(text: msgspec.Raw, name: str) -> object:
    try:
        return decode_json(text, f"'{name}'")
    except InvalidInput as error:
        raise InvalidRequest(error.message) from None


def _uid(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_UID_CHARS:
        return value
    raise InvalidRequest(f"'uid' must be a string of 1 to {MAX_UID_CHARS} characters, got {shown(value)}.")


def _timeout_ms(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return min(float(value), 1e12) if value < 1e300 else 1e12  # noqa: PLR2004  # the SLO clamps it anyway
    raise InvalidRequest(f"'timeout_ms' must be a number of milliseconds above 0, got {shown(value)}.")


def _version(value: object) -> str:
    if type(value) is int:
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= _MAX_VERSION_CHARS:
        return value
    raise InvalidRequest(f"'version' must be the name of a version, got {shown(value)}.")


def _explain(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidRequest(f"'explain' must be true or false, got {shown(value)}.")


_READERS = {"uid": _uid, "timeout_ms": _timeout_ms, "version": _version, "explain": _explain}
