"""From the descriptors that the build made of ``proto/`` to message classes."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

BUILT = "descriptors.binpb"


def _read() -> FileDescriptorSet:
    try:
        data = resources.files(__package__).joinpath(BUILT).read_bytes()
    except FileNotFoundError:
        raise ImportError(
            f"{__package__} has no {BUILT}: the build makes it. Install the project (pip install -e .), "
            "or run python hatch_build.py in its directory."
        ) from None
    return FileDescriptorSet.FromString(data)


def _load(sources: FileDescriptorSet) -> tuple[DescriptorPool, dict[str, FileDescriptorProto]]:
    pool = DescriptorPool()
    for source in sources.file:  # protoc lists what a file imports before it
        pool.Add(source)
    return pool, {source.name: source for source in sources.file}


POOL, _FILES = _load(_read())


def files() -> Mapping[str, FileDescriptorProto]:
    """The .proto files by name, as descriptors."""
    return _FILES


def file_of(symbol: str) -> FileDescriptor:
    """The file that defines a service, message or method.

    Raises:
        KeyError: None does.
    """
    return POOL.FindFileContainingSymbol(symbol)


def service_named(name: str) -> ServiceDescriptor:
    """The service of that full name.

    Raises:
        KeyError: There is none.
    """
    return POOL.FindServiceByName(name)


class Messages:
    """The message classes of one package: ``Messages("clipper.v1").Prediction``.

    They are made at run time, so their types are not known to a type checker.
    """

    def __init__(self, package: str) -> None:
        self._package = package

    def __getattr__(self, name: str) -> Any:
        try:
            descriptor = POOL.FindMessageTypeByName(f"{self._package}.{name}")
        except KeyError:
            raise AttributeError(f"The package {self._package} has no message {name}.") from None
        found = GetMessageClass(descriptor)
        setattr(self, name, found)
        return found
