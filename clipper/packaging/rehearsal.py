"""A dry run: a function is packaged, loaded and called as a container would, here and now."""

import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cloudpickle

from clipper.domain import InputType
from clipper.errors import InvalidInput, InvalidModel, ModelError
from clipper.inputs import encode_input
from clipper.packaging import objects
from clipper.tensors import parse_tensors
from clipper_container.execution import execute
from clipper_container.layout import Layout
from clipper_container.wire import HEADER, decode_batch, encode_batch


def rehearse(function: Callable[[Any], Any], xs: Sequence[Any], input_type: InputType, inputs: Any = ()) -> list[Any]:
    """The outputs of ``function`` for the inputs ``xs``, as a client would get them; ``inputs`` are their tensors.

    Raises:
        InvalidModel: It cannot be packaged.
        InvalidInput: One of the inputs is not of that type.
        ModelError: It raised, returned too few or too many outputs, or one that JSON cannot carry.
    """
    layout = Layout(parse_tensors(inputs)) if inputs else None
    rows = [encode_input(input_type, x, field=f"xs[{i}]", layout=layout) for i, x in enumerate(xs)]
    if not rows:
        raise InvalidInput("xs must have at least one input.")
    frame = encode_batch(0, input_type, rows, [math.inf] * len(rows))
    view = decode_batch(bytearray(frame[HEADER.size :]))
    done = execute(view, _as_loaded(function), time.monotonic, layout)
    if done.errors:
        row, error = done.errors[0]
        raise ModelError(f"For xs[{row}]: {error.message}")
    return [json.loads(line) for line in done.lines.splitlines()]


def _as_loaded(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What a container gets: a copy out of the pickle, not the object of this session."""
    with tempfile.TemporaryDirectory(prefix="clipper-") as directory:
        content = objects.content_of(function, Path(directory), method="predict", flavor=None)
        if content.flavor not in {"sklearn", "python"}:
            raise InvalidModel(f"A function or an estimator is tried out here; this is a model of {content.flavor}.")
        pickled = (Path(directory) / str(content.entry)).read_bytes()
    loaded = cloudpickle.loads(pickled)
    return loaded.predict if content.flavor == "sklearn" else loaded  # type: ignore[no-any-return]
