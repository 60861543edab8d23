"""The artifacts on the engine: one volume for each version, filled through the engine's API, read by its replicas.

So a remote engine needs no file of this host. A volume counts once the mark beside the artifact is there: it is
written last, and a server that died while filling one fills it again.
"""

import asyncio
import tarfile
from collections import defaultdict
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clipper.control.docker import labels
from clipper.control.docker.containers import ARTIFACT_DIR, VOLUME_DIR
from clipper.control.docker.engine import Engine, EngineRefused, asking, is_missing
from clipper.control.docker.tars import add_tree, small_tar, streamed

if TYPE_CHECKING:
    from docker.models.containers import Container

_MARK = "complete"


class Volumes:
    """Provides the volume of a version."""

    def __init__(self, engine: Engine, installation_id: str) -> None:
        self._engine = engine
        self._installation_id = installation_id
        self._complete: set[str] = set()
        self._filling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def provide(self, generation: int, artifact_dir: Path, image: str) -> str:
        """The name of the volume that holds the artifact; any ``image`` serves to fill it, nothing of it is run.

        Raises:
            EngineRefused: The engine did not take it.
            OSError: The artifact cannot be read.
        """
        name = labels.name(self._installation_id, f"g{generation}")
        async with self._filling[name]:
            if name not in self._complete:
                await self._engine.call(self._fill, name, generation, artifact_dir, image)
                self._complete.add(name)
        return name

    def doubt(self, generation: int) -> None:
        """Look again before the next replica: perhaps somebody removed the volume, and the engine made an empty one."""
        self._complete.discard(labels.name(self._installation_id, f"g{generation}"))

    async def collect(self, generations: Collection[int] | None) -> None:
        """Remove the volumes of versions that are not among ``generations``; of all, if None.

        Raises:
            EngineRefused: The engine cannot be asked.
        """
        await self._engine.call(self._collect, generations)

    def _fill(self, name: str, generation: int, artifact_dir: Path, image: str) -> None:
        from docker.types import Mount  # noqa: PLC0415  # an extra

        own = labels.of_version(generation, self._installation_id)
        client = self._engine.client
        asking(client.volumes.create, name, labels=own)
        # Never started: a volume can be written to only through a container.
        container = asking(client.containers.create, image, labels=own, mounts=[Mount(VOLUME_DIR, name)])
        try:
            if not _is_marked(container):
                _send(container, artifact_dir)
        finally:
            asking(container.remove, force=True)

    def _collect(self, generations: Collection[int] | None) -> None:
        for volume in asking(self._engine.client.volumes.list, filters=labels.own(self._installation_id)):
            generation = labels.generation(volume.attrs.get("Labels"))
            if generations is not None and generation in generations:
                continue
            self._complete.discard(volume.name)
            try:
                asking(volume.remove)
            except EngineRefused:
                continue  # a container that ends just now still has it


def _is_marked(container: "Container") -> bool:
    try:
        content, _ = asking(container.get_archive, f"{VOLUME_DIR}/{_MARK}")
    except EngineRefused as error:
        if is_missing(error):
            return False
        raise
    # A few hundred bytes; read to the end, so that the connection is free again.
    return bool(list(content))


def _send(container: "Container", artifact_dir: Path) -> None:
    def write(sink: IO[bytes]) -> None:
        with tarfile.open(fileobj=sink, mode="w|") as tar:
            add_tree(tar, Path(ARTIFACT_DIR).name, artifact_dir)

    with closing(streamed(write)) as content:
        asking(container.put_archive, VOLUME_DIR, content)
    asking(container.put_archive, VOLUME_DIR, small_tar(_MARK, b""))
