"""What goes into an artifact, before it has been written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clipper.domain import InputType


@dataclass(frozen=True, slots=True)
class Content:
    """The files of an artifact and what its manifest says about them.

    ``input_type`` and ``input_width`` are what the model itself reveals; None where it does not. ``manifest`` is the
    text of one that exists already (a packaged directory). ``python`` is the version that pickled
    it, where it is known.
    """

    flavor: str
    entry: str | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    input_type: InputType | None = None
    input_width: int | None = None
    manifest: bytes | None = None
    python: str | None = None
