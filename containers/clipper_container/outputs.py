"""What a model returned as JSON, one line per row; what JSON cannot carry becomes that row's error."""

from collections.abc import Iterator, Mapping
from itertools import islice
from math import isfinite
from typing import Any

import msgspec
import numpy as np

from clipper_container.flavors import BatchFailed
from clipper_container.sentences import describe
from clipper_container.wire import ItemError


class WrongOutputs(BatchFailed):  # a fault of the model that the sentence tells, not of ours
    """The model did not return one output per row; no row of the batch can be trusted to have its own."""


def as_list(outputs: Any, count: int) -> list[Any]:
    """The ``count`` outputs that ``predict`` returned: a list, an array, a series, a tensor, any iterable.

    A mapping has several outputs by their names, each of them with ``count`` rows.

    Numbers of arrays become Python's in one call. Whatever a generator raises passes through.

    Raises:
        WrongOutputs: There are more or fewer, or the value has no order.
    """
    values = _rows_of_columns(outputs, count) if isinstance(outputs, Mapping) else outputs
    if not isinstance(outputs, list | tuple | np.ndarray) and hasattr(outputs, "to_numpy"):
        values = outputs.to_numpy()
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, list):
        values = list(islice(_iterate(values), count + 1))
    if len(values) != count:
        number = _how_many(outputs, values, count)
        raise WrongOutputs(f"predict returned {number} outputs for {count} rows; it has to return one per row")
    return values


def _rows_of_columns(outputs: Mapping[Any, Any], count: int) -> list[dict[str, Any]]:
    """A mapping of name -> one part per row, as one mapping per row."""
    columns: dict[str, list[Any]] = {}
    for name, column in outputs.items():
        try:
            columns[str(name)] = as_list(column, count)
        except WrongOutputs as wrong:
            raise WrongOutputs(f"output {str(name)!r}: {wrong}") from None
    if not columns:
        raise WrongOutputs("predict returned an empty dict where outputs by their names were expected")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _how_many(outputs: Any, values: list[Any], count: int) -> str:
    if hasattr(outputs, "__len__"):
        return str(len(outputs))
    return f"more than {count}" if len(values) > count else str(len(values))


def _iterate(outputs: Any) -> Iterator[Any]:
    if not isinstance(outputs, str | bytes | bytearray | Mapping | set | frozenset):
        try:
            return iter(outputs)
        except TypeError:
            pass
    raise WrongOutputs(f"predict returned {_a(outputs)} where a list or an array with one output per row was expected")


def _a(value: Any) -> str:
    return "None" if value is None else f"one {type(value).__name__}"


def encode_lines(values: list[Any]) -> tuple[bytes, list[tuple[int, ItemError]]]:
    """Each value as a JSON fragment and a newline, and the errors of those that cannot be; in one call if all can."""
    try:
        lines = _encoder.encode_lines(values)
    except BaseException:  # noqa: BLE001  # some output is at fault; each is encoded by itself to find out which
        return join_lines([encode_one(value) for value in values])
    if _is_suspect(lines, len(values)):
        return join_lines([encode_one(value) for value in values])
    return lines, []


def _is_suspect(lines: bytes, count: int) -> bool:
    """Whether the values need a look one by one: nulls, or lines that are not theirs.

    msgspec writes NaN and Infinity as null, and copies ready-made JSON (`msgspec.Raw`) whatever is in it.
    """
    return b"null" in lines or lines.count(b"\n") != count or b"\n\n" in lines or lines.startswith(b"\n")


def join_lines(items: list[bytes | ItemError]) -> tuple[bytes, list[tuple[int, ItemError]]]:
    """Fragments and errors as lines, empty where there is an error, and the errors with their rows."""
    errors = [(i, item) for i, item in enumerate(items) if isinstance(item, ItemError)]
    lines = b"".join(b"\n" if isinstance(item, ItemError) else item + b"\n" for item in items)
    return lines, errors


def encode_one(value: Any) -> bytes | ItemError:
    """One output as a JSON fragment, or the error that stands for it."""
    try:
        fragment = _encoder.encode(value)
        if b"null" in fragment and _has_non_finite(msgspec.to_builtins(value, enc_hook=_to_json)):
            return ItemError("model_error", "the model returned NaN or Infinity, which JSON cannot carry")
    except BaseException as error:  # noqa: BLE001  # whatever a value of the model's raises is that row's error
        return ItemError(
            "model_error", f"the model's output ({type(value).__name__}) is not a JSON value: {describe(error)}"
        )
    if not fragment or b"\n" in fragment:
        return ItemError("model_error", "the model returned ready-made JSON that is empty or has line breaks")
    return fragment


def _has_non_finite(value: Any) -> bool:
    if isinstance(value, float):
        return not isfinite(value)
    if isinstance(value, dict):
        return any(map(_has_non_finite, value)) or any(map(_has_non_finite, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_non_finite, value))


def _to_json(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's and torch's scalars and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form; return numbers, strings, lists or dicts")


_encoder = msgspec.json.Encoder(enc_hook=_to_json)
