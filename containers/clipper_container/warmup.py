"""Runs the model on its example in growing batches, before anyone waits for it."""

import base64
from collections.abc import Callable
from math import inf
from typing import Any

import msgspec
import numpy as np

from clipper_container import wire
from clipper_container.execution import Predict, execute
from clipper_container.layout import Layout
from clipper_container.rows import DTYPES
from clipper_container.tensor_values import encode_tensors

BUDGET_S = 2.0
MAX_SIZE = 1024
MAX_BATCH_BYTES = 64 << 20
_REPEAT_BELOW_S = 0.05


class WarmupFailed(Exception):  # a sentence about the model, not a fault of the runtime
    """The model cannot answer its own example."""


def encode_example(input_type: str, example: Any, layout: Layout | None = None) -> bytes:
    """The example as a row; it is written as the API has inputs (bytes in base64).

    Raises:
        WarmupFailed: It is not an input of that type.
    """
    try:
        if layout is not None:
            return encode_tensors(layout, example)
        if input_type in DTYPES:
            return _numbers(example, DTYPES[input_type])
        if input_type == "json":
            return msgspec.json.encode(example, order="deterministic")
        return _text(example) if input_type == "strings" else base64.b64decode(_text(example), validate=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise WarmupFailed(f"The manifest's example_input is not an input of type {input_type}: {error}.") from error


def _numbers(example: Any, dtype: str) -> bytes:
    numbers = np.asarray(example, dtype=dtype)
    if numbers.ndim != 1:
        raise ValueError(f"it has {numbers.ndim} dimensions, a flat list of numbers was expected")
    return numbers.tobytes()


def _text(example: Any) -> bytes:
    if not isinstance(example, str):
        raise TypeError(f"a string was expected, a {type(example).__name__} came")
    return example.encode()


def warm_up(
    predict: Predict, input_type: str, row: bytes, clock: Callable[[], float], layout: Layout | None = None
) -> list[tuple[int, float]]:
    """(batch size, seconds) for 1, 2, 4, ... rows, as many sizes as the budget allows; the first call is not counted.

    Raises:
        WarmupFailed: The model raised or returned something that cannot be served; the sentence says what.
    """
    started_s = clock()
    _run(predict, input_type, row, 1, clock, layout)
    measured: list[tuple[int, float]] = []
    size, run_s = 1, 0.0
    while size <= MAX_SIZE and size * len(row) <= MAX_BATCH_BYTES and clock() - started_s + 4 * run_s < BUDGET_S:
        run_s = _run(predict, input_type, row, size, clock, layout)
        if run_s < _REPEAT_BELOW_S:  # the first run of a size allocates, and may compile
            run_s = _run(predict, input_type, row, size, clock, layout)
        measured.append((size, run_s))
        size *= 2
    return measured


def _run(
    predict: Predict, input_type: str, row: bytes, size: int, clock: Callable[[], float], layout: Layout | None
) -> float:
    batch = wire.encode_batch(0, input_type, [row] * size, [inf] * size)
    view = wire.decode_batch(bytearray(batch[wire.HEADER.size :]))
    started_s = clock()
    execution = execute(view, predict, clock, layout)
    if execution.errors:
        message = execution.errors[0][1].message
        raise WarmupFailed(
            f"The model failed on its example_input in a batch of {size}: {message}."
        ) from execution.raised
    return clock() - started_s
