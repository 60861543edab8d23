"""The body of a feedback request to updates; the one validator of both roads."""

from typing import Any

import msgspec

from clipper.engine.update import Update
from clipper.errors import ClipperError, InvalidInput, InvalidJson, InvalidLabel, InvalidRequest
from clipper.inputs import shown
from clipper_frontends.rest.limits import MAX_UID_CHARS, MAX_UPDATE_ID_CHARS, MAX_UPDATES_PER_REQUEST
from clipper_frontends.rest.rows import InputShape, RowReader, decode_json

_FIELDS = ("query_id", "input", "label", "uid", "update_id")
_BY_INPUT_ONLY = ("uid", "update_id")

_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items_of = msgspec.json.Decoder(list[msgspec.Raw]).decode


def decode_updates(body: bytes, shape: InputShape, reader: RowReader) -> Update | list[Update | ClipperError]:
    """The update of a body, or the list of them where it has ``updates``.

    An element of a list that is not as it should be is an error in its place; its neighbours are unharmed.

    Raises:
        InvalidJson: The body is not JSON.
        InvalidInput: The input has the wrong type, width or range.
        InvalidLabel: The label has a number that is out of range.
        InvalidRequest: Another field is missing, unknown or out of range.
    """
    if not body or body.isspace():
        raise InvalidJson('The body is empty; send a JSON object such as {"query_id": "...", "label": 3}.')
    fields = _split(body, "The body")
    if "updates" not in fields:
        return _update(fields, shape, reader, "")
    others = [name for name in fields if name != "updates"]
    if others:
        raise InvalidRequest(
            f"Beside 'updates' nothing is expected, and {shown(others[0])} came; it belongs into them."
        )
    return [_element(text, shape, reader, f"updates[{i}]") for i, text in enumerate(_items(fields["updates"]))]


def _element(text: msgspec.Raw, shape: InputShape, reader: RowReader, where: str) -> Update | ClipperError:
    try:
        return _update(_split(text, where), shape, reader, f"{where}.")
    except ClipperError as error:
        return error


def _split(text: bytes | msgspec.Raw, what: str) -> dict[str, msgspec.Raw]:
    try:
        return _fields_of(text)
    except RecursionError:
        raise InvalidJson(f"{what} is nested too deeply.") from None
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{what} must be a JSON object with a 'label': {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson(f"{what} is not valid JSON: {error}.") from None


def _items(text: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        items = _items_of(text)
    except (msgspec.DecodeError, RecursionError):
        came = shown(decode_json(text, "updates"))
        raise InvalidRequest(f"'updates' must be a list of objects, got {came}.") from None
    if not items:
        raise InvalidRequest("'updates' must have at least one element, got an empty list.")
    if len(items) > MAX_UPDATES_PER_REQUEST:
        raise InvalidRequest(
            f"'updates' has {len(items)} elements; a request takes at most {MAX_UPDATES_PER_REQUEST}. Send several."
        )
    return items


def _update(fields: dict[str, msgspec.Raw], shape: InputShape, reader: RowReader, where: str) -> Update:
    """``where`` is put before the names of fields: ``updates[3].``, or nothing."""
    for name in fields:
        if name not in _FIELDS:
            known = ", ".join(_FIELDS if where else (*_FIELDS, "updates"))
            raise InvalidRequest(f"{shown(where + name)} is not a field of feedback; its fields are {known}.")
    if "label" not in fields:
        raise InvalidRequest(f"'{where}label' is missing: it says what the right answer was.")
    if ("query_id" in fields) == ("input" in fields):
        both = "both came" if "input" in fields else "neither came"
        raise InvalidRequest(f"Exactly one of '{where}query_id' and '{where}input' is required; {both}.")
    label = _label(fields["label"], f"{where}label")
    if "query_id" in fields:
        for name in _BY_INPUT_ONLY:
            if name in fields:
                raise InvalidRequest(f"'{where}{name}' goes with an input; a query_id says it all by itself.")
        return Update(label=label, query_id=_text(fields["query_id"], f"{where}query_id", None))
    return Update(
        label=label,
        row=reader.read(bytes(fields["input"]), shape, f"{where}input"),
        uid=_optional(fields, "uid", where, MAX_UID_CHARS),
        update_id=_optional(fields, "update_id", where, MAX_UPDATE_ID_CHARS),
    )


def _label(text: msgspec.Raw, where: str) -> Any:
    try:
        return decode_json(text, where)
    except InvalidInput as error:
        raise InvalidLabel(error.message) from None


def _optional(fields: dict[str, msgspec.Raw], name: str, where: str, max_chars: int) -> str | None:
    return _text(fields[name], f"{where}{name}", max_chars) if name in fields else None


def _text(text: msgspec.Raw, where: str, max_chars: int | None) -> str:
    try:
        value = decode_json(text, f"'{where}'")
    except InvalidInput as error:
        raise InvalidRequest(error.message) from None
    if isinstance(value, str) and value and (max_chars is None or len(value) <= max_chars):
        return value
    expected = "a string, as the prediction had it" if max_chars is None else f"a string of 1 to {max_chars} characters"
    raise InvalidRequest(f"'{where}' must be {expected}; got {shown(value)}.")
