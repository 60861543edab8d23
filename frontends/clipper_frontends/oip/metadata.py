"""What the protocol says about the server and its models, and whether they are ready."""

from collections.abc import Sequence
from typing import NamedTuple

from clipper.engine.engine import Engine
from clipper.tensors import Tensor
from clipper_container.tensors import BYTES, FREE
from clipper_container.version import __version__
from clipper_frontends.oip.datatypes import DATATYPE_OF_INPUT_TYPE
from clipper_frontends.oip.names import Target

SERVER_NAME = "clipper"
EXTENSIONS = ("binary_tensor_data", "model_repository", "parameters", "datatypes(without BF16)")
"""Binary tensors, the repository's index, load and unload, parameters; every datatype is served but BF16."""

INPUT = "input"
"""What the one input tensor is called; a caller may call it anything."""

OUTPUT = "output"
"""What the answer is called where nothing says otherwise."""


class TensorMetadata(NamedTuple):
    """One tensor, with the batch as its first dimension; -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(NamedTuple):
    """What is known of a model. ``outputs`` is empty where the answers themselves tell."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class ServerMetadata(NamedTuple):
    """Who answers."""

    name: str
    version: str
    extensions: tuple[str, ...]


def server_metadata() -> ServerMetadata:
    """Name, version and extensions."""
    return ServerMetadata(SERVER_NAME, __version__, EXTENSIONS)


def model_metadata(engine: Engine, target: Target) -> ModelMetadata:
    """What is known of the application or model."""
    versions = tuple(version for model, version in engine.fleet.versions if model == target.name)
    platform = "clipper_application" if target.is_application else "clipper_model"
    return ModelMetadata(target.name, versions, platform, _inputs(target), _described(target.outputs, OUTPUT))


def _described(tensors: Sequence[Tensor], nameless: str) -> tuple[TensorMetadata, ...]:
    return tuple(TensorMetadata(each.name or nameless, each.datatype, (FREE, *each.shape)) for each in tensors)


def _inputs(target: Target) -> tuple[TensorMetadata, ...]:
    if target.input_type == "tensors":
        return _described(target.app.definition.inputs, INPUT)
    datatype = DATATYPE_OF_INPUT_TYPE[target.input_type]
    sizes = (FREE,) if datatype == BYTES else (FREE, target.input_width or FREE)
    return (TensorMetadata(INPUT, datatype, sizes),)


def is_ready(engine: Engine, target: Target) -> bool:
    """Whether a query to it would be answered by a model now."""
    if target.version is not None:
        return engine.fleet.version(target.name, target.version).has_ready_replica
    return any(route.serving is not None and route.serving.has_ready_replica for route in target.app.routes.values())
