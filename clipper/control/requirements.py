"""What of a model's requirements the server's own environment lacks, and what an environment for them depends on."""

import functools
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from clipper_container.manifest import installed_version

RUNTIME = "clipper-container"
WHEELS = "requirements"
"""Of an artifact: the directory with the wheels that the lines name."""


def lacking(lines: Sequence[str]) -> list[str]:
    """The lines for pip, options included; empty where everything is installed beside the server already.

    What is installed under another name (mlflow-skinny for mlflow) is not installed again.
    """
    needed = [line for line in lines if not _is_option(line) and not _is_satisfied(line)]
    options = [line for line in lines if _is_option(line)]
    return [*options, *needed] if needed else []


def runtime_constraints() -> list[str]:
    """What the runtime itself needs of the packages that it shares with the model."""
    return [line for line in metadata.requires(RUNTIME) or () if "extra ==" not in line]


def environment_key(lines: Sequence[str], artifact_dir: Path) -> str:
    """What an environment depends on, as a name: the lines, the wheels among them, this Python and what it has."""
    wheels = sorted((artifact_dir / WHEELS).glob("*")) if (artifact_dir / WHEELS).is_dir() else []
    parts = {
        "lines": list(lines),
        "wheels": [(wheel.name, _sha256(wheel)) for wheel in wheels],
        "python": [sys.version, sys.prefix],
        "installed": _installed(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _is_option(line: str) -> bool:
    return line.startswith("-")


def _is_satisfied(line: str) -> bool:
    try:
        requirement = Requirement(re.split(r"\s--hash[= ]", line, maxsplit=1)[0])
    except InvalidRequirement:
        return False  # a file or an address: only pip knows what is in it
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    if requirement.url is not None or requirement.extras:
        return False
    here = installed_version(requirement.name)
    return here is not None and requirement.specifier.contains(here, prereleases=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.cache
def _installed() -> list[str]:
    """What the server's environment had when it was first asked for: an environment is laid over exactly that."""
    return sorted(f"{each.metadata['Name']}=={each.version}" for each in metadata.distributions())
