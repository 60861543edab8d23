"""A model in an image of its own: what ``clipper build`` makes."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipper.control.artifacts import unpack
from clipper.control.docker import labels
from clipper.control.docker.images import Images, Tell
from clipper.control.docker.recipes import baked
from clipper.json_encoding import decode
from clipper.manifest import MANIFEST_NAME

MAX_BYTES = 1 << 40
"""It is the user's own model: whatever the disk holds."""


async def bake(images: Images, artifact: Path, *, name: str, version: str, tag: str, tell: Tell) -> dict[str, Any]:
    """Build the image ``tag`` of the packaged model ``artifact`` (a tar); returns the model's manifest.

    Raises:
        NotPrepared: A build failed.
    """
    with tempfile.TemporaryDirectory(prefix="clipper-") as directory:
        content = Path(directory) / "model"
        unpack(artifact, content, MAX_BYTES)
        manifest: dict[str, Any] = decode((content / MANIFEST_NAME).read_bytes(), MANIFEST_NAME)
        runtime = await images.provide(manifest["flavor"], manifest, content, tell)
        recipe = baked(runtime, content, labels_of(name, version, manifest))
        await images.build_as(recipe, tag, tell)
    return manifest


def labels_of(name: str, version: str, manifest: Mapping[str, Any]) -> dict[str, str]:
    """What the image says about its model, without being run."""
    return {
        labels.MODEL: name,
        labels.VERSION: version,
        "clipper.flavor": str(manifest["flavor"]),
        labels.INPUT_TYPE: str(manifest["input_type"]),
    }
