"""What is asked of the engine about replicas' containers. Everything here blocks: call it in the engine's threads."""

import contextlib
from dataclasses import dataclass
from typing import Any

from clipper.control.docker import labels
from clipper.control.docker.containers import SECRET_DIR, SECRET_NAME, USER, Ending, arguments, creation, describe
from clipper.control.docker.engine import Engine, EngineRefused, asking, is_conflict, is_missing
from clipper.control.docker.tars import small_tar
from clipper.control.logfiles import LogFiles
from clipper.control.manager import ReplicaSpec, Running
from clipper.errors import InvalidRequest
from clipper.rpc.secrets import ReplicaSecrets

KEPT_LINES = 2000
"""So much of what a container printed is kept when it is removed."""


@dataclass(frozen=True)
class Listed:
    """A container of the installation's, as the engine lists it. ``replica_id`` is None where it runs no replica."""

    container_id: str
    state: str
    replica_id: str | None

    @property
    def has_ended(self) -> bool:
        """Whether it ran and does no more."""
        return self.state in {"exited", "dead"}


class ReplicaContainers:
    """Makes, finds, ends and removes the containers of one installation."""

    def __init__(
        self,
        engine: Engine,
        installation_id: str,
        logs: LogFiles,
        secrets: ReplicaSecrets,
        orphan_timeout_s: float,
    ) -> None:
        self._engine = engine
        self._api: Any = engine.client.api
        self._installation_id = installation_id
        self._logs = logs
        self._secrets = secrets
        self._orphan_timeout_s = orphan_timeout_s

    def found(self) -> list[Listed]:
        """All that there are, whatever their state."""
        listed = asking(self._api.containers, all=True, filters=labels.own(self._installation_id))
        return [Listed(c["Id"], c["State"], (c.get("Labels") or {}).get(labels.REPLICA)) for c in listed]

    def describe(self, container_id: str) -> Running:
        """A running one.

        Raises:
            InvalidRequest: It does not run, or is no replica's.
        """
        published_host = None if self._engine.publishes_on is None else self._engine.host
        return describe(asking(self._api.inspect_container, container_id), published_host)

    def start(self, spec: ReplicaSpec, *, image: str, volume: str | None, network: str) -> tuple[Running, str]:
        """Make and start one; returns it and its id. Where that fails nothing is left but what it printed.

        Raises:
            EngineRefused: The engine did not start it.
            InvalidRequest: It ended at once.
        """
        made = creation(
            spec,
            self._installation_id,
            image=image,
            volume=volume,
            network=network,
            publish_on=self._engine.publishes_on,
        )
        made["command"] = arguments(spec, self._installation_id, self._orphan_timeout_s)
        container_id = self._create(made)
        try:
            secret = small_tar(SECRET_NAME, self._secrets.of(spec.replica_id), mode=0o400, owner=USER)
            asking(self._api.put_archive, container_id, SECRET_DIR, secret)
            asking(self._api.start, container_id)
            return self.describe(container_id), container_id
        except (EngineRefused, InvalidRequest):
            self.clear_away(spec.replica_id, container_id)
            raise

    def stop(self, container_id: str, grace_s: float) -> None:
        """Ask it to end; returns when it has."""
        asking(self._api.stop, container_id, timeout=max(1, round(grace_s)))

    def kill(self, container_id: str) -> None:
        """End it. One that is paused gets the signal when it goes on."""
        try:
            asking(self._api.kill, container_id)
        except EngineRefused as error:
            if is_missing(error) or not is_conflict(error):
                raise
        with contextlib.suppress(EngineRefused):
            if asking(self._api.inspect_container, container_id)["State"].get("Paused"):
                asking(self._api.unpause, container_id)
                asking(self._api.kill, container_id)

    def bury(self, replica_id: str, container_id: str) -> tuple[Ending | None, str | None]:
        """How it ended and what it said last; it is removed. None: somebody else has done that.

        Raises:
            EngineRefused: The engine cannot be asked now.
        """
        try:
            ending = Ending.of(asking(self._api.inspect_container, container_id))
        except EngineRefused as error:
            if is_missing(error):
                return None, None
            raise
        return ending, self.clear_away(replica_id, container_id)

    def clear_away(self, replica_id: str, container_id: str) -> str | None:
        """Remove it, whatever it does; returns its last words."""
        last_words = None
        with contextlib.suppress(EngineRefused, OSError):
            log, start = self._logs.open(replica_id)
            with log:
                log.write(self.printed(container_id, KEPT_LINES).encode())
            last_words = self._logs.last_words(replica_id, start)
        with contextlib.suppress(EngineRefused):
            asking(self._api.remove_container, container_id, force=True, v=True)
        return last_words

    def printed(self, container_id: str, lines: int) -> str:
        """The last lines that it printed."""
        said: bytes = asking(self._api.logs, container_id, stdout=True, stderr=True, tail=lines)
        return said.decode("utf-8", "replace")

    def _create(self, made: dict[str, Any]) -> str:
        create = self._engine.client.containers.create
        try:
            return str(asking(create, **made).id)
        except EngineRefused as error:
            if not is_conflict(error):
                raise
        # What it was before: ended, and not cleared away yet.
        asking(self._api.remove_container, made["name"], force=True, v=True)
        return str(asking(create, **made).id)
