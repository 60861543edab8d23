"""What an artifact says about itself, and how its versions compare with what is installed here."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from clipper_container.wire import INPUT_TYPE_CODES, TensorSpec

MANIFEST_FILE = "manifest.json"
FORMAT = 1
_READ_BYTES = 1 << 20


_SOLD_AS: dict[str, tuple[str, ...]] = {
    "tensorflow": ("tensorflow-cpu", "tensorflow-rocm", "tf-nightly"),
    "mlflow": ("mlflow-skinny",),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino"),
}
"""Packages that bring the same modules under another name."""


class Manifest(msgspec.Struct, frozen=True):
    """``manifest.json`` of an artifact.

    ``entry`` is what to load, ``python`` and ``packages`` what saved it, ``framework`` the same for people.
    ``input_shape`` is what one row becomes, where the model takes more than a flat one. ``output_kind`` is ``label``,
    ``number``, ``scores`` or ``json``. ``requirements`` are lines for pip; ``digest`` is `content_digest` of the files.
    ``inputs`` and ``outputs`` are the tensors of a query and of an answer, without the batch.
    """

    format: int = FORMAT
    flavor: str = "python"
    input_type: str = "doubles"
    method: str = "predict"
    input_width: int | None = None
    example_input: Any = None
    python: str | None = None
    packages: dict[str, str] = {}
    entry: str | None = None
    framework: str | None = None
    input_shape: list[int] | None = None
    output_kind: str | None = None
    requirements: list[str] = []
    digest: str | None = None
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []


def read_manifest(directory: Path) -> Manifest:
    """The manifest in ``directory``.

    Raises:
        ValueError: It is missing, not a manifest, or of a newer format; the sentence says which.
    """
    path = directory / MANIFEST_FILE
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ValueError(f"The artifact has no readable {MANIFEST_FILE}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The artifact's {MANIFEST_FILE} is not a manifest: {error}.") from error
    if manifest.format != FORMAT:
        raise ValueError(f"The artifact has format {manifest.format}, this runtime reads format {FORMAT}: upgrade it.")
    if manifest.input_type not in INPUT_TYPE_CODES:
        known = ", ".join(sorted(INPUT_TYPE_CODES))
        raise ValueError(f"The artifact has the input type {manifest.input_type!r}; this runtime takes {known}.")
    return manifest


class Difference(NamedTuple):
    """What saved a model and what is here in its place. ``here`` is None where nothing is."""

    name: str
    saved: str
    here: str | None

    def __str__(self) -> str:
        return f"{self.name} {self.saved}, here {self.here or 'none'}"

    @property
    def may_break(self) -> bool:
        """Whether it is more than a fix: formats change with the first two numbers of a version."""
        return self.here is None or self.saved.split(".")[:2] != self.here.split(".")[:2]


def version_differences(manifest: Manifest) -> list[Difference]:
    """Each version that the model was saved with and that is another one here, Python's first."""
    differences = []
    python = Difference("Python", manifest.python or "", platform.python_version())
    if manifest.python is not None and python.may_break:
        differences.append(python)
    for name, saved in sorted(manifest.packages.items()):
        here = installed_version(name)
        if here is None or _public(here) != _public(saved):
            differences.append(Difference(name, saved, here))
    return differences


def installed_version(name: str) -> str | None:
    """The version of a package that is installed here, under whichever of its names; None where it is not."""
    for sold_as in (name, *_SOLD_AS.get(name, ())):
        try:
            return importlib.metadata.version(sold_as)
        except (importlib.metadata.PackageNotFoundError, ValueError):  # ValueError: not the name of any package
            continue
    return None


def _public(version: str) -> str:
    """Without the builder's part: ``2.13.0+cpu`` and ``2.13.0+cu130`` read the same files."""
    return version.partition("+")[0]


def content_digest(files: Mapping[str, bytes | Path]) -> str:
    """The sha256 over all files of an artifact but its manifest: their names, lengths and bytes, sorted by name.

    Args:
        files: Name in the artifact -> content, or the file that holds it.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name]
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        digest.update(f"{len(name.encode())}:{name}:{size}:".encode())
        if isinstance(content, bytes):
            digest.update(content)
            continue
        with content.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def is_damaged(directory: Path, manifest: Manifest) -> bool:
    """Whether the files in ``directory`` are not those that were packaged. Reads all of them."""
    if manifest.digest is None:
        return False
    names = (path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = {path.relative_to(directory).as_posix(): path for path in names}
    files.pop(MANIFEST_FILE, None)
    try:
        return content_digest(files) != manifest.digest
    except OSError:
        return True
