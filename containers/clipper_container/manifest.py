"""What an artifact says about itself, and how its versions compare with what is installed here."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import msgspec

from clipper_container.wire import INPUT_TYPE_CODES

MANIFEST_FILE = "manifest.json"
FORMAT = 1


class Manifest(msgspec.Struct, frozen=True):
    """``manifest.json`` of an artifact. ``entry`` is what to load, ``python`` and ``packages`` what saved it."""

    format: int = FORMAT
    flavor: str = "python"
    input_type: str = "doubles"
    method: str = "predict"
    input_width: int | None = None
    example_input: Any = None
    python: str | None = None
    packages: dict[str, str] = {}
    entry: str | None = None


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


def version_differences(manifest: Manifest) -> list[str]:
    """Each version that the model was saved with and that is another one here, as ``name saved, here installed``."""
    differences = []
    here = platform.python_version()
    if manifest.python is not None and manifest.python.split(".")[:2] != here.split(".")[:2]:
        differences.append(f"Python {manifest.python}, here {here}")
    for name, saved in sorted(manifest.packages.items()):
        installed = _installed(name)
        if installed != saved:
            differences.append(f"{name} {saved}, here {installed or 'none'}")
    return differences


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):  # ValueError: not the name of any package
        return None
