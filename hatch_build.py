"""Builds what the distribution ships besides its sources: the descriptors of the .proto files.

They are data, not code: no generated module has to match the installed protobuf, and none of it is in the tree.
"""

from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DESCRIPTORS = "clipper/protocols/descriptors.binpb"


class ProtoBuildHook(BuildHookInterface[Any]):
    """Compiles ``proto/**/*.proto`` whenever the project is built or installed, editable installs included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # the signature is hatchling's
        """Write the descriptor set where the package looks for it."""
        if self.target_name == "wheel":
            compile_descriptors(Path(self.root))
            build_data["artifacts"].append(DESCRIPTORS)


def compile_descriptors(root: Path) -> None:
    """Compile the .proto files below ``root``.

    Raises:
        RuntimeError: One of them is not valid; protoc has said why on standard error.
    """
    proto = root / "proto"
    sources = sorted(str(path.relative_to(proto)) for path in proto.rglob("*.proto"))
    output = root / DESCRIPTORS
    status = protoc.main(["protoc", f"--proto_path={proto}", f"--descriptor_set_out={output}", *sources])
    if status != 0:
        raise RuntimeError(f"protoc ended with {status}; its words are above.")


if __name__ == "__main__":
    compile_descriptors(Path(__file__).parent)
