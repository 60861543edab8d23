"""Runs one batch: expired rows are left out, a batch that raises is split until the bad rows stand alone."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from clipper_container.flavors import BatchFailed
from clipper_container.layout import Layout
from clipper_container.outputs import as_list, encode_lines, encode_one, join_lines
from clipper_container.rows import Rows, rows_of
from clipper_container.sentences import describe
from clipper_container.tensor_rows import tensor_rows_of
from clipper_container.wire import BatchView, ItemError

Predict = Callable[[Any], Any]


class Execution(NamedTuple):
    """What came of a batch: see `wire.encode_reply` for ``lines``. ``raised`` is the first exception of ``predict``."""

    lines: bytes
    errors: list[tuple[int, ItemError]]
    raised: BaseException | None


class _Raised(Exception):  # carries the model's exception to the place that splits the batch
    def __init__(self, cause: BaseException) -> None:
        super().__init__()
        self.cause = cause


def execute(view: BatchView, predict: Predict, clock: Callable[[], float], layout: Layout | None = None) -> Execution:
    """Runs ``predict`` on the rows whose deadline has not passed on ``clock``; never raises for what the model does.

    ``layout`` is of rows of tensors.
    """
    rows = rows_of(view) if layout is None else tensor_rows_of(view, layout)
    deadlines_s = np.frombuffer(view.deadlines, "<f8")
    parts = rows.groups()
    items: list[bytes | ItemError] = [_EXPIRED] * view.row_count
    raised = None
    if len(parts) == 1 and (deadlines_s > clock()).all():
        try:
            return Execution(*_answer_all(rows, predict, view.row_count), None)
        except _Raised as failure:
            raised = failure.cause
            parts = _split(parts[0], failure.cause, items)
    parts.reverse()
    while parts:
        now_s = clock()
        part = [index for index in parts.pop() if deadlines_s[index] > now_s]
        if not part:
            continue
        try:
            answers = _answer_some(rows, predict, part)
        except _Raised as failure:
            raised = raised or failure.cause
            parts.extend(reversed(_split(part, failure.cause, items)))
        else:
            for index, answer in zip(part, answers, strict=True):
                items[index] = answer
    return Execution(*join_lines(items), raised)


def _split(part: Sequence[int], cause: BaseException, items: list[bytes | ItemError]) -> list[list[int]]:
    """The halves of a part that raised; a single row is at fault and gets its error."""
    if len(part) == 1:
        items[part[0]] = ItemError("model_error", describe(cause))
        return []
    middle = len(part) // 2
    return [list(part[:middle]), list(part[middle:])]


def _answer_all(rows: Rows, predict: Predict, count: int) -> tuple[bytes, list[tuple[int, ItemError]]]:
    try:
        values = _call(predict, rows.whole, count)
    except BatchFailed as failure:
        return join_lines([_error_of_all(failure)] * count)
    return encode_lines(values)


def _answer_some(rows: Rows, predict: Predict, part: Sequence[int]) -> list[bytes | ItemError]:
    try:
        values = _call(predict, lambda: rows.take(part), len(part))
    except BatchFailed as failure:
        return [_error_of_all(failure)] * len(part)
    return [encode_one(value) for value in values]


def _error_of_all(failure: BatchFailed) -> ItemError:
    return ItemError("deadline_exceeded" if failure.late else "model_error", str(failure))


def _call(predict: Predict, inputs: Callable[[], Any], count: int) -> list[Any]:
    try:
        return as_list(predict(inputs()), count)
    except BatchFailed:
        raise
    except BaseException as error:  # SystemExit and KeyboardInterrupt of a model end a row, not the replica
        raise _Raised(error) from error


_EXPIRED = ItemError("deadline_exceeded", "the deadline passed before the model could run")
