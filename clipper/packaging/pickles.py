"""What a pickle is made of, read from its opcodes: nothing in it is ever executed or even loaded."""

import bz2
import gzip
import io
import itertools
import lzma
import pickletools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MAX_OPCODES = 200_000
"""Enough to meet every class of a model; what follows is numbers."""

_MAGIC = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open), (b"\x5d\x00", lzma.open))
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}


@dataclass(frozen=True, slots=True)
class Contents:
    """Modules whose names the pickle imports, in order of appearance, and the version of scikit-learn that wrote it."""

    modules: tuple[str, ...]
    sklearn_version: str | None = None

    @property
    def roots(self) -> set[str]:
        """The top-level packages among the modules."""
        return {module.partition(".")[0] for module in self.modules}


class _Reader:
    """Follows the strings on the pickle machine's stack, which is all that the names of imports need."""

    def __init__(self) -> None:
        self.modules: dict[str, None] = {}
        self.sklearn_version: str | None = None
        self._strings: list[Any] = ["", ""]
        self._memo: dict[int, Any] = {}

    def feed(self, name: str, arg: Any) -> None:
        if name in {"GLOBAL", "INST"}:
            self._import(str(arg).split(" ", 1)[0])
        elif name == "STACK_GLOBAL":
            self._import(self._strings[-2])
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._strings[-1]
        elif name in _PUTS:
            self._memo[arg] = self._strings[-1]
        elif name in _GETS:
            self._push(self._memo.get(arg))
        elif isinstance(arg, str):
            self._push(arg)

    def _push(self, value: Any) -> None:
        if self._strings[-1] == "_sklearn_version" and isinstance(value, str):
            self.sklearn_version = value
        self._strings = [self._strings[-1], value]

    def _import(self, module: Any) -> None:
        if isinstance(module, str) and module:
            self.modules[module] = None
        self._push(None)


def scan(stream: IO[bytes]) -> Contents:
    """The contents of the pickle in ``stream``, as far as it can be followed.

    joblib stores arrays as raw bytes between the opcodes, where reading has to end; the model's class stands before.

    Raises:
        ValueError: It does not begin like a pickle.
    """
    reader = _Reader()
    opcodes = pickletools.genops(stream)
    try:
        for opcode, arg, _position in itertools.islice(opcodes, MAX_OPCODES):
            reader.feed(opcode.name, arg)
    except (ValueError, EOFError, UnicodeDecodeError, OSError, OverflowError, MemoryError, zlib.error):
        # The last but one: a length of eight bytes may claim whatever it likes.
        if not reader.modules:
            raise ValueError("not a pickle") from None
    return Contents(tuple(reader.modules), reader.sklearn_version)


def scan_file(path: Path) -> Contents:
    """`scan` for a file, which joblib may have compressed.

    Raises:
        ValueError: It is not a pickle.
    """
    with _decompressed(path) as stream:
        return scan(stream)


class _Inflated(io.RawIOBase):
    """A zlib file, which is what joblib writes unless told otherwise, inflated as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data and not self._inflate.eof:
            source = self._inflate.unconsumed_tail or self._file.read(len(buffer))
            if not source:
                break
            data = self._inflate.decompress(source, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position


@contextmanager
def _decompressed(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        start = file.read(8)
    for magic, opener in _MAGIC:
        if start.startswith(magic):
            with opener(path, "rb") as stream:
                yield stream
            return
    if start[:1] == b"\x78":
        with path.open("rb") as file:
            yield io.BufferedReader(_Inflated(file))
        return
    with path.open("rb") as file:
        yield file
