"""How a replica's container is made: what it may use, what it may do, and what the engine says of it. Pure.

It may do little: not root, no capability and none to be gained, a root file system that cannot be written, a network
that leads nowhere, a bounded number of processes. The runtime is its first process; no shell is needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clipper.control.docker import labels
from clipper.control.manager import ReplicaSpec, Running
from clipper.control.runtime_command import tensors_argument
from clipper.domain import Limits
from clipper.errors import InvalidRequest
from clipper.manifest import IMAGE_FLAVOR

PORT = 7000
"""`clipper_container.healthcheck.PORT`; the images expose it."""
USER = 10_001
SECRET_DIR = "/run/clipper"  # noqa: S105  # where it is, not what
SECRET_NAME = "secret"  # noqa: S105  # a file's name
VOLUME_DIR = "/artifact"
ARTIFACT_DIR = f"{VOLUME_DIR}/model"
BAKED_DIR = "/model"
"""Where ``model.Dockerfile`` puts it."""
MAX_PROCESSES = 1024
"""Threads count: a framework on a large machine starts some hundred."""
TEMPORARY_BYTES = 256 << 20
LOG_FILE_BYTES = 4 << 20
_PORT_KEY = f"{PORT}/tcp"


def arguments(spec: ReplicaSpec, installation_id: str, orphan_timeout_s: float) -> list[str]:
    """How the runtime is started in the container; the image has the interpreter and the module."""
    version = spec.version
    said = {
        "--artifact": _artifact_dir(spec),
        "--model": version.model,
        "--version": version.spec.version,
        "--generation": str(version.generation),
        "--replica": spec.replica_id,
        "--installation": installation_id,
        "--listen": f"tcp:0.0.0.0:{PORT}",
        "--secret-file": f"{SECRET_DIR}/{SECRET_NAME}",
        "--threads": str(version.spec.limits.threads),
        "--orphan-timeout-s": f"{orphan_timeout_s:g}",
    }
    if not is_baked(spec):  # the manifest in the image knows better
        said |= {"--input-type": version.spec.input_type, "--method": version.spec.method}
        if version.spec.inputs:
            said["--inputs"] = tensors_argument(version.spec.inputs)
    return [part for pair in said.items() for part in pair]


def creation(
    spec: ReplicaSpec, installation_id: str, *, image: str, volume: str | None, network: str, publish_on: str | None
) -> dict[str, Any]:
    """The arguments of the SDK's ``containers.create``, but for the command.

    ``volume`` holds the artifact; None where the image does.
    """
    from docker.types import LogConfig, Mount  # noqa: PLC0415  # an extra

    return {
        "image": image,
        "name": labels.name(installation_id, spec.replica_id),
        "hostname": "replica",
        "labels": labels.of_replica(spec, installation_id),
        "network": network,
        "ports": {} if publish_on is None else {_PORT_KEY: (publish_on, None)},
        "working_dir": _artifact_dir(spec),
        "mounts": [
            *([] if volume is None else [Mount(VOLUME_DIR, volume, read_only=True, no_copy=True)]),
            # Nameless: it goes with the container; labelled, so that it is found where somebody else removed that one.
            Mount(SECRET_DIR, None, no_copy=True, labels=labels.of_version(spec.version.generation, installation_id)),
        ],
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": {"/tmp": f"rw,nosuid,nodev,mode=1777,size={TEMPORARY_BYTES}"},  # noqa: S108  # the container's own
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": MAX_PROCESSES,
        # The controller starts replicas again, with backoff and a reason in the status; the engine does not.
        "restart_policy": {"Name": "no"},
        "log_config": LogConfig(type="json-file", config={"max-size": str(LOG_FILE_BYTES), "max-file": "2"}),
        **_bounds(spec.version.spec.limits),
    }


def is_baked(spec: ReplicaSpec) -> bool:
    """Whether its model is in an image of its own (``clipper build``), instead of in an artifact."""
    return spec.version.spec.flavor == IMAGE_FLAVOR


def _artifact_dir(spec: ReplicaSpec) -> str:
    return BAKED_DIR if is_baked(spec) else ARTIFACT_DIR


def _bounds(limits: Limits) -> dict[str, Any]:
    from docker.types import DeviceRequest  # noqa: PLC0415  # an extra

    bounds: dict[str, Any] = {}
    if limits.memory_mb is not None:
        # Both alike: no swap. A replica that swaps answers nobody in time.
        bounds |= {"mem_limit": limits.memory_mb << 20, "memswap_limit": limits.memory_mb << 20}
    if limits.cpus is not None:
        bounds["nano_cpus"] = round(limits.cpus * 1e9)
    if limits.gpus:
        bounds["device_requests"] = [DeviceRequest(count=limits.gpus, capabilities=[["gpu"]])]
    return bounds


@dataclass(frozen=True)
class Ending:
    """How a container ended, as the engine says."""

    exit_code: int
    out_of_memory: bool
    error: str

    @classmethod
    def of(cls, inspected: Mapping[str, Any]) -> "Ending":
        """From the engine's description of the container."""
        state = inspected["State"]
        return cls(int(state.get("ExitCode", 0)), bool(state.get("OOMKilled")), str(state.get("Error") or ""))


def describe(inspected: Mapping[str, Any], published_host: str | None) -> Running:
    """A running container as the controller knows it, dialled at ``published_host`` or at its own address.

    Raises:
        InvalidRequest: It is not a replica's container, or it has no address (it has ended meanwhile).
    """
    said = inspected["Config"]["Labels"]
    state = inspected["State"]
    try:
        return Running(
            said[labels.REPLICA],
            said[labels.MODEL],
            said[labels.VERSION],
            int(said[labels.GENERATION]),
            _address(inspected["NetworkSettings"], published_host),
            int(state["Pid"]),
            seconds(state["StartedAt"]),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InvalidRequest(
            f"The container {inspected.get('Name')} is not one that runs a replica: {error}."
        ) from None


def _address(settings: Mapping[str, Any], published_host: str | None) -> str:
    if published_host is not None:
        port = int(settings["Ports"][_PORT_KEY][0]["HostPort"])
        return f"tcp:[{published_host}]:{port}" if ":" in published_host else f"tcp:{published_host}:{port}"
    (network,) = settings["Networks"].values()
    address = network["IPAddress"]
    if not address:
        raise KeyError("it has no address")
    return f"tcp:{address}:{PORT}"


def seconds(timestamp: str) -> float:
    """The engine's RFC 3339 time, with its nanoseconds, in seconds since the epoch."""
    whole, _, fraction = timestamp.rstrip("Z").partition(".")
    parsed = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return parsed.timestamp() + float(f"0.{fraction or 0}")
