"""What a flavor is given and what it returns."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from clipper_container.layout import Layout
from clipper_container.manifest import Manifest


class NotLoadable(Exception):  # a state of affairs, told in one sentence
    """Why a model cannot be served here: a whole sentence with what was expected, what is here and what to do."""


class BatchFailed(Exception):  # a state of affairs, told in one sentence
    """What ``predict`` raises where a batch failed as a whole, so that its parts are not tried by themselves.

    ``late``: because the time of its queries was over.
    """

    def __init__(self, sentence: str, *, late: bool = False) -> None:
        super().__init__(sentence)
        self.late = late


def _forever() -> float:
    return math.inf


def _ignored(_reason: str) -> None:
    return None


class LoadContext(NamedTuple):
    """The unpacked artifact and how it shall be served. ``directory`` is None where the replica has no artifact.

    ``left_s()`` is the time until nobody waits any more for the batch that ``predict`` has now. ``give_up(reason)``
    ends the replica, from any thread: what it needs has gone, and the sentence says so. ``tensors`` is how those of a
    query lie in a row; None where the input type is a flat one.
    """

    directory: Path | None
    manifest: Manifest
    input_type: str
    method: str
    threads: int
    left_s: Callable[[], float] = _forever
    give_up: Callable[[str], None] = _ignored
    tensors: Layout | None = None

    def entry(self) -> str:
        """What the manifest names to load.

        Raises:
            ValueError: It names nothing.
        """
        if self.manifest.entry is None:
            raise ValueError("the artifact's manifest names no 'entry' to load")
        return self.manifest.entry

    def path(self, file: str) -> Path:
        """A file of the artifact.

        Raises:
            ValueError: There is no artifact, or the name points out of it.
        """
        if self.directory is None:
            raise ValueError("this flavor loads a file, but the replica was started without an artifact")
        path = (self.directory / file).resolve()
        if not path.is_relative_to(self.directory.resolve()):
            raise ValueError(f"{file!r} lies outside of the artifact")
        return path


class Loaded(NamedTuple):
    """A model that is ready to be asked.

    ``predict`` takes a batch: a C-contiguous array (rows, width) of float64, float32 or int32, or a list of str, bytes
    or decoded JSON values; of tensors a dict of C-contiguous arrays (rows, ...) by name, or the one array where it has
    no name, with objects of bytes where the datatype is BYTES. It may write to it. It returns one output per row, in
    order: a list, an array, a series, a tensor or any iterable; several outputs as a dict of those by name. It may be
    called again with rows that were in a batch that raised.
    ``input_width`` is the number of values in a row, where the model knows.
    """

    predict: Callable[[Any], Any]
    input_width: int | None = None


class Flavor(Protocol):
    """``load`` of a flavor's module."""

    def __call__(self, context: LoadContext, /) -> Loaded:
        """Loads the model; raises whatever explains best why it cannot."""
