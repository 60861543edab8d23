"""Models behind a server of the Open Inference Protocol: the artifact has no files, only the address."""

from clipper.errors import InvalidModel
from clipper.packaging.content import Content
from clipper_container.flavors.oip import parse

FLAVOR = "oip"
SCHEMES = ("grpc://", "grpcs://")


def is_address(text: str) -> bool:
    """Whether it is meant as the address of such a model."""
    return text.startswith(SCHEMES)


def content_of(address: str) -> Content:
    """What the adapter is started with.

    Raises:
        InvalidModel: It is no such address.
    """
    try:
        return Content(FLAVOR, str(parse(address)), framework="Open Inference Protocol")
    except ValueError as error:
        raise InvalidModel(str(error)) from None
