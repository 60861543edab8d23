"""The embedded store of the configuration: documents in the SQLite file."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from clipper.domain import Snapshot
from clipper.errors import StoreUnavailable
from clipper.state.database import Database
from clipper.state.documents import (
    DESIRED_KINDS,
    OBSERVED_KINDS,
    Key,
    decode_desired,
    decode_observed,
    desired_values,
    differences,
    observed_values,
)
from clipper.state.schema import read_meta
from clipper.state.store import DesiredEdit, ObservedEdit


class SqliteStore:
    """A `Store` in a data directory; safe against kill -9."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.installation_id = database.installation_id
        self._cached: Snapshot | None = None
        self._subscribers: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, data_dir: Path) -> Self:
        """The store of this data directory; both are created when missing.

        Raises:
            StoreUnavailable: The file cannot be opened, is no database of ours, or is a newer version's.
        """
        return cls(await Database.open(data_dir, "clipper-store"))

    async def revision(self) -> int:
        """The number of changes so far, by any process."""
        return await self._database.run(_read_revision)

    async def snapshot(self) -> Snapshot:
        """Everything, as of one revision."""
        return await self._database.run(self._load)

    async def change(self, edit: DesiredEdit) -> Snapshot:
        """See `Store.change`. ``edit`` runs in the store's thread."""

        def transition(old: Snapshot, revision: int) -> Snapshot:
            return old.model_copy(update={"desired": edit(old.desired, revision)})

        return await self._database.run(lambda connection: self._commit(connection, transition))

    async def report(self, edit: ObservedEdit) -> Snapshot:
        """See `Store.report`. ``edit`` runs in the store's thread."""

        def transition(old: Snapshot, _revision: int) -> Snapshot:
            return old.model_copy(update={"observed": edit(old.observed)})

        return await self._database.run(lambda connection: self._commit(connection, transition))

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """See `Store.subscribe`."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback) if callback in self._subscribers else None

    async def close(self) -> None:
        """Let go of the file; closing twice is harmless."""
        self._subscribers.clear()
        await self._database.close()

    # Everything below runs in the database's thread.

    def _load(self, connection: sqlite3.Connection) -> Snapshot:
        connection.execute("BEGIN")
        try:
            return self._current(connection)
        finally:
            connection.execute("ROLLBACK")

    def _current(self, connection: sqlite3.Connection) -> Snapshot:
        """The state inside the transaction that is open; decoded again only when another process changed it."""
        revision = _read_revision(connection)
        if self._cached is None or self._cached.revision != revision:
            self._cached = self._decode(connection, revision)
        return self._cached

    def _decode(self, connection: sqlite3.Connection, revision: int) -> Snapshot:
        try:
            desired = decode_desired(_rows(connection, DESIRED_KINDS))
            observed = decode_observed(_rows(connection, OBSERVED_KINDS))
        except (ValueError, KeyError) as error:
            raise StoreUnavailable(
                f"{self._database.path} holds a document that cannot be read ({type(error).__name__}). "
                "Restore the file from a backup, or use another --data-dir."
            ) from error
        return Snapshot(revision=revision, desired=desired, observed=observed)

    def _commit(self, connection: sqlite3.Connection, transition: Callable[[Snapshot, int], Snapshot]) -> Snapshot:
        with self._database.transaction(connection):
            old = self._current(connection)
            new = transition(old, old.revision + 1)
            written, deleted = differences(_values(old), _values(new))
            if not written and not deleted:
                return old
            _write(connection, old.revision + 1, written, deleted)
        self._cached = new.model_copy(update={"revision": old.revision + 1})
        self._loop.call_soon_threadsafe(self._notify)
        return self._cached

    def _notify(self) -> None:
        for callback in tuple(self._subscribers):
            callback()


def _read_revision(connection: sqlite3.Connection) -> int:
    return int(read_meta(connection, "revision"))


def _values(snapshot: Snapshot) -> dict[Key, Any]:
    return desired_values(snapshot.desired) | observed_values(snapshot.observed)


def _rows(connection: sqlite3.Connection, kinds: tuple[str, ...]) -> list[tuple[str, str, str]]:
    marks = ", ".join("?" * len(kinds))
    query = f"SELECT kind, name, body FROM documents WHERE kind IN ({marks})"  # noqa: S608  # only question marks
    return connection.execute(query, kinds).fetchall()


def _write(connection: sqlite3.Connection, revision: int, written: dict[Key, str], deleted: set[Key]) -> None:
    connection.executemany("DELETE FROM documents WHERE kind = ? AND name = ?", deleted)
    connection.executemany(
        "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
        [(*key, body) for key, body in written.items()],
    )
    connection.execute("UPDATE meta SET value = ? WHERE name = 'revision'", (str(revision),))
