"""How a replica's process is started: its arguments and its environment."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from clipper.control.manager import ReplicaSpec
from clipper.domain import Limits
from clipper.tensors import Tensor

RUNTIME_MODULE = "clipper_container"

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)


def command_line(
    spec: ReplicaSpec, address: str, installation_id: str, orphan_timeout_s: float, python: Path | None = None
) -> list[str]:
    """How the runtime is started, by the interpreter ``python`` (by default this one); adoption reads it back."""
    version = spec.version
    limits = version.spec.limits
    arguments = {
        "--artifact": str(spec.artifact_dir),
        "--model": version.model,
        "--version": version.spec.version,
        "--generation": str(version.generation),
        "--replica": spec.replica_id,
        "--installation": installation_id,
        "--listen": address,
        "--input-type": version.spec.input_type,
        "--method": version.spec.method,
        "--threads": str(limits.threads),
        "--orphan-timeout-s": f"{orphan_timeout_s:g}",
    }
    if version.spec.inputs:
        arguments["--inputs"] = tensors_argument(version.spec.inputs)
    if limits.memory_mb is not None:
        arguments["--memory-mb"] = str(limits.memory_mb)
    # -P: the artifact, which is the working directory, must not shadow what the runtime imports.
    start = [str(python or sys.executable), "-P", "-m", RUNTIME_MODULE]
    return [*start, *(part for pair in arguments.items() for part in pair)]


def tensors_argument(tensors: Sequence[Tensor]) -> str:
    """The tensors of a query as the runtime's command line has them."""
    return json.dumps([tensor.model_dump(mode="json") for tensor in tensors], separators=(",", ":"))


def environment(inherited: dict[str, str], limits: Limits) -> dict[str, str]:
    """What a replica inherits: everything but the settings and secrets of the server; and the limits' thread counts."""
    threads = dict.fromkeys(_THREAD_VARIABLES, str(limits.threads))
    # The artifact's directory is content-addressed: nothing is to be written beside the model's code.
    return {**without_settings(inherited), **threads, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def without_settings(inherited: dict[str, str]) -> dict[str, str]:
    """The variables that are not the server's own settings and secrets."""
    return {name: value for name, value in inherited.items() if not name.startswith("CLIPPER_")}
