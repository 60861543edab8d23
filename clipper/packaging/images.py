"""Models that were baked into an image (``clipper build``): the artifact has no files, only the image's name."""

import re

from clipper.errors import InvalidModel
from clipper.manifest import IMAGE_FLAVOR
from clipper.packaging.content import Content

SCHEME = "docker://"
# A name as docker takes it: a registry with a port, a path in lower case, a tag, a digest.
_NAME = re.compile(
    r"([a-zA-Z0-9.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?", re.ASCII
)
_MAX_CHARS = 512


def is_address(text: str) -> bool:
    """Whether it is meant as the name of such an image."""
    return text.startswith(SCHEME)


def content_of(address: str) -> Content:
    """What a replica is started with.

    Raises:
        InvalidModel: It is no name of an image.
    """
    name = address.removeprefix(SCHEME)
    if len(name) > _MAX_CHARS or _NAME.fullmatch(name) is None:
        raise InvalidModel(
            f"'{address[:_MAX_CHARS]}' names no image; docker://registry.example.com/ml/digits:1 does, as it was given "
            "to clipper build."
        )
    return Content(IMAGE_FLAVOR, name)
