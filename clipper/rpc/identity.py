"""Whether a replica is the one that its address is known for."""

from clipper.domain import Version
from clipper_container.tensors import Described
from clipper_container.wire import Hello


def mismatch(version: Version, hello: Hello | None, address: str) -> str | None:
    """None if the replica says that it serves this version, else the sentence why it gets no queries.

    The generation is this server's own: a container that somebody else runs cannot know it.
    """
    if hello is None:
        return f"The replica at {address} did not say what it serves."
    spec = version.spec
    expected: tuple[str | int, ...] = (version.model, spec.version, spec.input_type, *map(_shown, spec.inputs))
    found: tuple[str | int, ...] = (hello.model, hello.version, hello.input_type, *map(_shown, hello.inputs))
    if spec.external is None:
        expected, found = (*expected, version.generation), (*found, hello.generation)
    if found != expected:
        return f"The replica at {address} serves {found}, expected {expected}; it gets no queries."
    return None


def _shown(tensor: Described) -> str:
    return f"{tensor.name} {tensor.datatype}{list(tensor.shape)}".strip()
