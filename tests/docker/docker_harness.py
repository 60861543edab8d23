"""Servers whose replicas are containers, and what the engine says about them."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, NotFound
from server_process import ServerProcess, until

import clipper

LABEL = "clipper.installation"


def engine_or_reason():
    """A client, or None and why there is none."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        return None, f"no Docker engine answers: {error}"
    return client, None


class DockerServer(ServerProcess):
    """``clipper up --manager docker`` on an engine that the test looks at, too."""

    def __init__(self, engine, data_dir: Path, **environment: str):
        images = {name: value for name, value in os.environ.items() if name.startswith("CLIPPER_DOCKER_")}
        super().__init__(data_dir, CLIPPER_MANAGER="docker", **{**images, **environment})
        self.engine = engine

    def connect(self, token: str) -> None:
        """Where the admin port wants a token."""
        self.cl.close()
        self.cl = clipper.connect(self.admin, token=token)

    @property
    def installation_id(self) -> str:
        with contextlib.closing(sqlite3.connect(self.data_dir / "clipper.db")) as connection:
            return connection.execute("SELECT value FROM meta WHERE name = 'installation_id'").fetchone()[0]

    def containers(self) -> dict[str, Any]:
        """By replica id, whatever their state."""
        own = [f"{LABEL}={self.installation_id}", "clipper.replica"]
        found = self.engine.containers.list(all=True, filters={"label": own}, ignore_removed=True)
        return {container.labels["clipper.replica"]: container for container in found}

    def container(self, replica_id: str) -> Any:
        return self.containers()[replica_id]

    def things(self) -> list[str]:
        """Names of everything of this installation's on the engine, images apart."""
        own = {"label": f"{LABEL}={self.installation_id}"}
        containers = self.engine.containers.list(all=True, filters=own, ignore_removed=True)
        networks = self.engine.networks.list(filters=own)
        volumes = self.engine.volumes.list(filters=own)
        return [thing.name for thing in (*containers, *networks, *volumes)]

    def clear_away(self) -> None:
        own = {"label": f"{LABEL}={self.installation_id}"}
        for container in self.engine.containers.list(all=True, filters=own):
            with contextlib.suppress(NotFound):
                container.remove(force=True, v=True)
        for thing in (*self.engine.networks.list(filters=own), *self.engine.volumes.list(filters=own)):
            thing.remove()

    def version(self, version: object = 1) -> dict[str, Any]:
        return self.cl.get_model_info("model", version)

    def until_ready(self, count: int, what: str = "") -> dict[str, dict[str, Any]]:
        """The replicas of the model once just so many are ready, and run."""
        return until(lambda: self._just(count), what or f"{count} replicas are ready")

    def until_back(self, replica_id: str, container_id: str) -> dict[str, Any]:
        """The replica's entry once another container is ready in its place."""

        def back():
            replica = self.replicas("model").get(replica_id)
            container = self.containers().get(replica_id)
            return replica if replica and container is not None and container.id != container_id else None

        return until(back, f"{replica_id} is back")

    def _just(self, count):
        ready = self.replicas("model")
        return ready if len(ready) == count and len(self.containers()) == count else None
