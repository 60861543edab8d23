"""What is asked: inputs from a file, or drawn for the application's input type, as JSON or as tensors."""

import base64
import json
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

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


class Tensor(NamedTuple):
    """One input: ``data`` is what the Open Inference Protocol has of it in binary.

    Numbers are little-endian, back to back; of BYTES it is the one element, without its length.
    """

    datatype: str
    data: bytes


JsonOf: TypeAlias = Callable[[int], bytes]
"""The input of query ``index`` as JSON."""
TensorOf: TypeAlias = Callable[[int], Tensor]
"""The same input as a tensor."""

_FORMATS = {"doubles": ("FP64", "d"), "floats": ("FP32", "f"), "integers": ("INT32", "i")}
"""By input type: the datatype, and its letter in `struct`."""
BYTES = "BYTES"

T = TypeVar("T")


def open_inputs(source: InputSource, seed: int) -> JsonOf:
    """The inputs of a run as JSON.

    Raises:
        InvalidInput: The file cannot be read or has none, or inputs of this type cannot be drawn.
    """
    return _opened(source, seed, _json, _drawn)


def open_tensors(source: InputSource, seed: int) -> TensorOf:
    """The same inputs as tensors: equal numbers, so that the server finds them in its cache whichever way they come.

    What no tensor of the input type can be (a text in a file for an application of numbers) is BYTES, as JSON: it is
    for the server to refuse.

    Raises:
        InvalidInput: As from `open_inputs`; also where an application takes strings or bytes and the file has others.
    """
    if source.input_type == "tensors":
        raise InvalidInput(
            "The load generator sends the queries of an application of tensors as JSON: --protocol rest or grpc."
        )
    return _opened(source, seed, lambda value: _tensor(value, source.input_type), _drawn_tensors)


def _opened(
    source: InputSource,
    seed: int,
    encoded: Callable[[Any], T],
    drawn: Callable[[InputSource, random.Random], Callable[[int], T]],
) -> Callable[[int], T]:
    if source.file is not None:
        from_file = [encoded(value) for value in read_inputs(Path(source.file))]
        count = min(len(from_file), source.distinct or len(from_file))
        return lambda index: from_file[index % count]
    draw = drawn(source, random.Random(seed))  # noqa: S311  # seeded, so that the load comes again
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


def _json(value: Any) -> bytes:
    return encode({"input": value})[len(_PREFIX) : -1]


def _tensor(value: Any, input_type: str) -> Tensor:
    if input_type in _FORMATS:
        return _tensor_of_numbers(value, *_FORMATS[input_type])
    if input_type == "json":
        return Tensor(BYTES, _json(value))
    if not isinstance(value, str):
        raise InvalidInput(f"An input for an application of {input_type} must be a string, got {_shown(value)}.")
    try:
        return Tensor(BYTES, value.encode() if input_type == "strings" else base64.b64decode(value, validate=True))
    except ValueError as error:
        raise InvalidInput(f"An input of {input_type} cannot be {_shown(value)}: {error}.") from None


def _tensor_of_numbers(value: Any, datatype: str, letter: str) -> Tensor:
    if not isinstance(value, list) or not set(map(type, value)) <= {int, float}:
        return Tensor(BYTES, _json(value))
    try:
        return Tensor(datatype, struct.pack(f"<{len(value)}{letter}", *value))
    except (struct.error, OverflowError):  # a fraction or a number out of range; a whole float is one of the integers
        return _tensor_of_numbers(value, *_FORMATS["doubles"]) if letter != "d" else Tensor(BYTES, _json(value))


def _shown(value: Any) -> str:
    return _json(value)[:40].decode()


def _drawn(source: InputSource, chance: random.Random) -> JsonOf:
    """Different for every index; the first one asked for is different from run to run unless the seed is the same."""
    first = chance.randrange(_MAX_I32)
    match source.input_type:
        case "doubles" | "floats":
            return _numbers(first, _FRACTIONS, b"[0.%07d%b", _tails(source, chance))
        case "integers":
            return _numbers(first, _MAX_I32, b"[%d%b", _tails(source, chance))
        case "strings":
            return lambda index: b'"query %d"' % (first + index)
        case "bytes":
            return lambda index: b'"%b"' % base64.b64encode(b"query %d" % (first + index))
        case "json" | "tensors":
            raise InvalidInput(
                f"What an application of type '{source.input_type}' takes cannot be guessed; give a file of inputs "
                "(--inputs FILE.jsonl)."
            )


def _drawn_tensors(source: InputSource, chance: random.Random) -> TensorOf:
    """What `_drawn` draws from the same seed."""
    if source.input_type not in _FORMATS:
        draw = _drawn(source, chance)
        return lambda index: _tensor(json.loads(draw(index)), source.input_type)
    datatype, letter = _FORMATS[source.input_type]
    first = chance.randrange(_MAX_I32)
    pack_first = struct.Struct(f"<{letter}").pack
    # What JSON has with seven digits is the nearest number to that fraction; so is a division, in IEEE 754.
    modulus, unit = (_MAX_I32, 1) if letter == "i" else (_FRACTIONS, float(_FRACTIONS))
    read: Callable[[str], float] = int if letter == "i" else float
    tails = [struct.pack(f"<{source.width - 1}{letter}", *map(read, tail)) for tail in _tails(source, chance)]

    def tensor(index: int) -> Tensor:
        number = (first + index) % modulus
        return Tensor(datatype, pack_first(number if unit == 1 else number / unit) + tails[index % _TAILS])

    return tensor


def _tails(source: InputSource, chance: random.Random) -> list[list[str]]:
    """All numbers but the first of `_TAILS` inputs."""
    if source.width < 1:
        raise InvalidInput(f"An input needs at least one number; the width is {source.width}.")
    if source.input_type == "integers":
        return [[str(chance.randrange(1000)) for _ in range(source.width - 1)] for _ in range(_TAILS)]
    return [[f"{chance.random():.7f}" for _ in range(source.width - 1)] for _ in range(_TAILS)]


def _numbers(first: int, modulus: int, form: bytes, tails: Sequence[Sequence[str]]) -> JsonOf:
    """Lists of numbers: the first one counts, the others come from `_TAILS` lists, encoded beforehand."""
    texts = ["".join(f",{number}" for number in tail).encode() + b"]" for tail in tails]
    return lambda index: form % ((first + index) % modulus, texts[index % _TAILS])
