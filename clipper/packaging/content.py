"""What goes into an artifact, before it has been written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clipper.domain import InputType
from clipper.manifest import OutputKind
from clipper.tensors import Tensor


@dataclass(frozen=True, slots=True)
class Content:
    """The files of an artifact and what its manifest says about them.

    ``input_type``, ``input_width``, ``input_shape`` and ``output_kind`` are what the model itself reveals; None where
    it does not. ``manifest`` is the text of one that exists already (a packaged directory). ``python`` is the version
    that pickled it, ``framework`` what saved it, in words, where they are known. ``requirements`` is a file that came
    with the model. ``inputs`` and ``outputs`` are what the model says of its tensors.
    """

    flavor: str
    entry: str | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    input_type: InputType | None = None
    input_width: int | None = None
    manifest: bytes | None = None
    python: str | None = None
    framework: str | None = None
    input_shape: tuple[int, ...] | None = None
    output_kind: OutputKind | None = None
    requirements: Path | None = None
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
