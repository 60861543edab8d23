"""Which manager runs the replicas, as the settings say."""

import asyncio

from clipper.control.docker.network import KeepOut
from clipper.control.manager import ReplicaManager
from clipper.control.processes import ProcessManager
from clipper.rpc.secrets import ReplicaSecrets, load_secrets
from clipper.settings import Settings


async def open_manager(settings: Settings, installation_id: str, keep_out: KeepOut) -> ReplicaManager:
    """The manager of this host, for the running event loop.

    ``keep_out`` is told from which networks replicas could reach this server.

    Raises:
        ClipperError: There is no Docker engine.
    """
    if settings.manager == "process":
        return ProcessManager(installation_id, settings.data_dir, orphan_timeout_s=settings.orphan_timeout_s)
    # Imported only where it is used: the SDK is an extra.
    from clipper.control.docker.engine import connect  # noqa: PLC0415
    from clipper.control.docker.images import Images  # noqa: PLC0415
    from clipper.control.docker.manager import DockerManager  # noqa: PLC0415
    from clipper.control.docker.recipes import Kitchen  # noqa: PLC0415

    engine = await asyncio.to_thread(connect, settings.docker_reach)
    kitchen = Kitchen(settings.docker_base_image, settings.docker_wheels)
    return DockerManager(
        engine,
        Images(engine, kitchen, settings.docker_image_prefix),
        installation_id,
        settings.data_dir,
        secrets=load_secrets(settings.data_dir),
        network=settings.docker_network,
        keep_out=keep_out,
        orphan_timeout_s=settings.orphan_timeout_s,
    )


def secrets_of(settings: Settings) -> ReplicaSecrets | None:
    """What replicas and their callers share, where the network lies between them.

    Raises:
        OSError: The file that keeps it can be neither read nor written.
    """
    return load_secrets(settings.data_dir) if settings.manager == "docker" else None
