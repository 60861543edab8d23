"""The embedded store: one SQLite file, written by one thread, safe against kill -9."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from clipper.domain import Snapshot
from clipper.errors import ClipperError, StoreUnavailable
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
from clipper.state.store import DesiredEdit, ObservedEdit

DATABASE_NAME = "clipper.db"
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 5.0
RETRY_AFTER_S = 1.0

T = TypeVar("T")

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE documents
       (kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID""",
    "INSERT INTO meta VALUES ('revision', '0'), ('installation_id', lower(hex(randomblob(16))))",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class SqliteStore:
    """A `Store` in ``<data dir>/clipper.db``: WAL, ``synchronous=FULL``, so what was acknowledged survives a power cut.

    SQLite runs in a thread of its own; the event loop never waits for a disk. After a failure the connection is made
    anew, so the store recovers as soon as the disk does. Several processes may use one file.
    """

    installation_id: str

    def __init__(self, path: Path) -> None:
        """Use `open` instead, which also connects."""
        self._path = path.absolute()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clipper-store")
        self._connection: sqlite3.Connection | None = None
        self._cached: Snapshot | None = None
        self._subscribers: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        self._closed = False

    @classmethod
    async def open(cls, data_dir: Path) -> Self:
        """The store of this data directory; both are created when missing.

        Raises:
            StoreUnavailable: The file cannot be opened, is no database of ours, or is a newer version's.
        """
        store = cls(data_dir / DATABASE_NAME)
        try:
            store.installation_id = await store._run(store._create)
        except BaseException:
            await store.close()
            raise
        return store

    async def revision(self) -> int:
        """The number of changes so far, by any process."""
        return await self._run(lambda: self._read_revision(self._connect()))

    async def snapshot(self) -> Snapshot:
        """Everything, as of one revision."""
        return await self._run(self._load)

    async def change(self, edit: DesiredEdit) -> Snapshot:
        """See `Store.change`. ``edit`` runs in the store's thread."""

        def transition(old: Snapshot, revision: int) -> Snapshot:
            return old.model_copy(update={"desired": edit(old.desired, revision)})

        return await self._run(lambda: self._commit(transition))

    async def report(self, edit: ObservedEdit) -> Snapshot:
        """See `Store.report`. ``edit`` runs in the store's thread."""

        def transition(old: Snapshot, _revision: int) -> Snapshot:
            return old.model_copy(update={"observed": edit(old.observed)})

        return await self._run(lambda: self._commit(transition))

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """See `Store.subscribe`."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback) if callback in self._subscribers else None

    async def close(self) -> None:
        """Let go of the file; closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self._subscribers.clear()
        await self._loop.run_in_executor(self._executor, self._disconnect)
        self._executor.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreUnavailable("The store is closed: the server is shutting down.")
        return await self._loop.run_in_executor(self._executor, self._guarded, work)

    # Everything below runs in the store's thread.

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except ClipperError:
            raise
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            raise StoreUnavailable(_sentence(self._path, error), retry_after_s=RETRY_AFTER_S) from error

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _create(self) -> str:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._attach("rwc")
        try:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found == 0 and not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                for statement in _SCHEMA:
                    connection.execute(statement)
            elif found != SCHEMA_VERSION:
                raise StoreUnavailable(
                    f"{self._path} has the schema version {found}, this Clipper knows {SCHEMA_VERSION}. "
                    "Use the Clipper that wrote it, or another --data-dir."
                )
            connection.execute("COMMIT")
            return _read_installation_id(connection)
        finally:
            connection.close()

    def _attach(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = self._attach("rw")
            self._connection = connection
            if _read_installation_id(connection) != self.installation_id:
                self._disconnect()
                raise StoreUnavailable(
                    f"{self._path} was replaced by another installation's database while the server ran. "
                    "Put the former one back, or restart the server."
                )
        return self._connection

    def _read_revision(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()[0])

    def _load(self) -> Snapshot:
        connection = self._connect()
        connection.execute("BEGIN")
        try:
            return self._current(connection)
        finally:
            connection.execute("ROLLBACK")

    def _current(self, connection: sqlite3.Connection) -> Snapshot:
        """The state inside the transaction that is open; decoded again only when another process changed it."""
        revision = self._read_revision(connection)
        if self._cached is None or self._cached.revision != revision:
            self._cached = self._decode(connection, revision)
        return self._cached

    def _decode(self, connection: sqlite3.Connection, revision: int) -> Snapshot:
        try:
            desired = decode_desired(_rows(connection, DESIRED_KINDS))
            observed = decode_observed(_rows(connection, OBSERVED_KINDS))
        except (ValueError, KeyError) as error:
            raise StoreUnavailable(
                f"{self._path} holds a document that cannot be read ({type(error).__name__}). "
                "Restore the file from a backup, or use another --data-dir."
            ) from error
        return Snapshot(revision=revision, desired=desired, observed=observed)

    def _commit(self, transition: Callable[[Snapshot, int], Snapshot]) -> Snapshot:
        connection = self._connect()
        connection.execute("BEGIN IMMEDIATE")
        try:
            old = self._current(connection)
            new = transition(old, old.revision + 1)
            written, deleted = differences(_values(old), _values(new))
            if not written and not deleted:
                return old
            _write(connection, old.revision + 1, written, deleted)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self._cached = new.model_copy(update={"revision": old.revision + 1})
        self._loop.call_soon_threadsafe(self._notify)
        return self._cached

    def _notify(self) -> None:
        for callback in tuple(self._subscribers):
            callback()


def _read_installation_id(connection: sqlite3.Connection) -> str:
    return str(connection.execute("SELECT value FROM meta WHERE name = 'installation_id'").fetchone()[0])


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


def _sentence(path: Path, error: Exception) -> str:
    """What happened to the database and what to do about it."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError):
        known = {
            "full": "The disk is full: free some space.",
            "readonly": "The file is read-only: make it writable for this user.",
            "unable to open": "The file cannot be opened: check the directory and its permissions.",
            "locked": "Another process holds its lock: try again.",
        }
        advice = next((advice for word, advice in known.items() if word in text), "Check the disk and the file.")
        return f"The database {path} cannot be used ({text}). {advice}"
    if isinstance(error, sqlite3.DatabaseError):
        return f"{path} is damaged or no database ({text}). Restore it from a backup, or move it away to start anew."
    return f"The database {path} cannot be used ({text}). Check the disk and the file."
