"""What is asked: inputs from a file, or drawn for the application's input type, each as the JSON of one input."""

import base64
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipper.errors import InvalidInput
from clipper.json_encoding import encode
from clipper.loadgen.plan import InputSource

_TAILS = 1021
"""Prime, so that the first number and the rest of the numbers come again together as late as can be."""
_FRACTIONS = 10_000_000
"""So many seven-digit fractions are different numbers in 32 bits, too."""
_MAX_I32 = 2**31
_PREFIX = b'{"input":'

JsonOf = Callable[[int], bytes]
"""The input of query ``index`` as JSON."""


def open_inputs(source: InputSource, seed: int) -> JsonOf:
    """The inputs of a run.

    Raises:
        InvalidInput: The file cannot be read or has none, or inputs of this type cannot be drawn.
    """
    if source.file is not None:
        from_file = _encoded(read_inputs(Path(source.file)))
        count = min(len(from_file), source.distinct or len(from_file))
        return lambda index: from_file[index % count]
    draw = _drawn(source, random.Random(seed))  # noqa: S311  # seeded, so that the load comes again
    if source.distinct is None:
        return draw
    repeated = [draw(index) for index in range(source.distinct)]
    return lambda index: repeated[index % len(repeated)]


def read_inputs(path: Path) -> Sequence[Any]:
    """The inputs in a file: a line of JSON each (`.jsonl`), or a row each of an array (`.npy`).

    A line is the input itself, or an object with the field ``input``, as the server takes it.

    Raises:
        InvalidInput: With the name of the file, and the line.
    """
    try:
        if path.suffix == ".npy":
            inputs: Sequence[Any] = np.load(path, allow_pickle=False).tolist()
        elif path.suffix == ".jsonl":
            inputs = list(_lines(path))
        else:
            raise InvalidInput(f"Inputs come from a file whose name ends in .jsonl or .npy; '{path.name}' does not.")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise InvalidInput(f"'{path}' cannot be read: {reason or error}.") from None
    if not isinstance(inputs, list) or not inputs:
        raise InvalidInput(f"'{path}' has no inputs.")
    return inputs


def _lines(path: Path) -> Iterator[Any]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"'{path}', line {number}, must be JSON: {error}.") from None
        yield value["input"] if isinstance(value, dict) and "input" in value else value


def _encoded(inputs: Sequence[Any]) -> list[bytes]:
    return [encode({"input": value})[len(_PREFIX) : -1] for value in inputs]


def _drawn(source: InputSource, chance: random.Random) -> JsonOf:
    """Different for every index; the first one asked for is different from run to run unless the seed is the same."""
    first = chance.randrange(_MAX_I32)
    match source.input_type:
        case "doubles" | "floats":
            return _numbers(source.width, first, _FRACTIONS, b"[0.%07d%b", lambda: f"{chance.random():.7f}")
        case "integers":
            return _numbers(source.width, first, _MAX_I32, b"[%d%b", lambda: str(chance.randrange(1000)))
        case "strings":
            return lambda index: b'"query %d"' % (first + index)
        case "bytes":
            return lambda index: b'"%b"' % base64.b64encode(b"query %d" % (first + index))
        case "json" | "tensors":
            raise InvalidInput(
                f"What an application of type '{source.input_type}' takes cannot be guessed; give a file of inputs "
                "(--inputs FILE.jsonl)."
            )


def _numbers(width: int, first: int, modulus: int, form: bytes, number: Callable[[], str]) -> JsonOf:
    """Lists of numbers: the first one counts, the others come from `_TAILS` lists, encoded beforehand."""
    if width < 1:
        raise InvalidInput(f"An input needs at least one number; the width is {width}.")
    tails = ["".join(f",{number()}" for _ in range(width - 1)).encode() + b"]" for _ in range(_TAILS)]
    return lambda index: form % ((first + index) % modulus, tails[index % _TAILS])
