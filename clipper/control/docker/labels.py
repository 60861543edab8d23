"""What marks the things on an engine as an installation's own; other installations' things are never looked at."""

from collections.abc import Mapping

from clipper.control.manager import ReplicaSpec

INSTALLATION = "clipper.installation"
MODEL = "clipper.model"
VERSION = "clipper.version"
GENERATION = "clipper.generation"
REPLICA = "clipper.replica"
INPUT_TYPE = "clipper.input-type"
"""Of an image with a model in it."""
_ID_CHARS = 12


def of_replica(spec: ReplicaSpec, installation_id: str) -> dict[str, str]:
    """The labels of a replica's container."""
    version = spec.version
    return {
        INSTALLATION: installation_id,
        MODEL: version.model,
        VERSION: version.spec.version,
        GENERATION: str(version.generation),
        REPLICA: spec.replica_id,
    }


def of_version(generation: int, installation_id: str) -> dict[str, str]:
    """The labels of what belongs to a version."""
    return {INSTALLATION: installation_id, GENERATION: str(generation)}


def own(installation_id: str) -> dict[str, list[str]]:
    """The filter that finds what belongs to the installation."""
    return {"label": [f"{INSTALLATION}={installation_id}"]}


def name(installation_id: str, thing: str | None = None) -> str:
    """The name of one of the installation's things; the labels count, the name is for people."""
    prefix = f"clipper-{installation_id[:_ID_CHARS]}"
    return prefix if thing is None else f"{prefix}-{thing}"


def generation(labels: Mapping[str, str] | None) -> int | None:
    """Which version something belongs to; None where its label does not say."""
    text = (labels or {}).get(GENERATION, "")
    return int(text) if text.isdigit() else None
