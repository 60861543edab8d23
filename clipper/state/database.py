"""One connection to the SQLite file, in a thread of its own: the event loop never waits for a disk."""

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from clipper.errors import ClipperError, StoreUnavailable
from clipper.state.schema import bring_up_to_date, read_meta

DATABASE_NAME = "clipper.db"
BUSY_TIMEOUT_S = 5.0
"""How long one waits for others, in this process and elsewhere, who read or write the file."""
GAP_S = 0.001
"""Left between two transactions of one connection. Whoever else wants to write looks more often than that."""
RETRY_AFTER_S = 1.0

T = TypeVar("T")


class Database:
    """``<data dir>/clipper.db``: WAL, ``synchronous=FULL``, so what was acknowledged survives a power cut.

    After a failure the connection is made anew, so it recovers as soon as the disk does. Several processes, and several
    of these in one, may use one file. One of them writes at a time, in turns: SQLite's own way of waiting looks every
    0.1 s in the end, and with four processes that commit without a pause some waited for nearly 5 s.
    """

    installation_id: str

    def __init__(self, path: Path, name: str) -> None:
        """Use `open` instead, which also connects."""
        self._path = path.absolute()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._file: tuple[int, int] | None = None
        self._free_since_s = 0.0

    @classmethod
    async def open(cls, data_dir: Path, name: str) -> Self:
        """The database of this data directory; both are created, or brought up to date, where needed.

        Raises:
            StoreUnavailable: The file cannot be opened, is no database of ours, or is a newer version's.
        """
        database = cls(data_dir / DATABASE_NAME, name)
        try:
            database.installation_id = await database._in_thread(database._create)
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` returns, which runs in the thread, one at a time.

        Cancelling the caller does not undo what is already on its way.

        Raises:
            ClipperError: What ``work`` raised.
            StoreUnavailable: SQLite or the disk failed, or the database is closed.
        """
        return await self._in_thread(lambda: work(self._connect()))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Like `run`, inside a `transaction`: durable when this returns, and undone where ``work`` raises."""

        def in_transaction(connection: sqlite3.Connection) -> T:
            with self.transaction(connection):
                return work(connection)

        return await self.run(in_transaction)

    async def close(self) -> None:
        """Let go of the file; closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        await self._loop.run_in_executor(self._executor, self._disconnect)
        self._executor.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreUnavailable("The store is closed: the server is shutting down.")
        return await self._loop.run_in_executor(self._executor, self._guarded, work)

    # Everything below runs in the thread.

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
            bring_up_to_date(connection, self._path)
            return read_meta(connection, "installation_id")
        finally:
            connection.close()

    def _attach(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
        )
        try:
            # Of two who set up a new file at once SQLite refuses one at once, however long it may wait.
            _execute_patiently(connection, "PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")  # erased people leave no bytes behind
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._file != _identity(self._path):
            self._disconnect()  # SQLite would go on writing into a file that nobody finds any more
        if self._connection is None:
            self._file = _identity(self._path)
            connection = self._attach("rw")
            self._connection = connection
            if read_meta(connection, "installation_id") != self.installation_id:
                self._disconnect()
                raise StoreUnavailable(
                    f"{self._path} was replaced by another installation's database while the server ran. "
                    "Put the former one back, or restart the server."
                )
        return self._connection

    @contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """A writing transaction of the thread: committed at its end, undone where anything raises."""
        time.sleep(max(0.0, self._free_since_s + GAP_S - time.monotonic()))
        _begin(connection)
        try:
            yield
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._free_since_s = time.monotonic()


def _identity(path: Path) -> tuple[int, int]:
    """Which file it is, whatever its name.

    Raises:
        FileNotFoundError: There is none.
    """
    found = os.stat(path)  # noqa: PTH116  # half the time of Path.stat, before every statement
    return found.st_dev, found.st_ino


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to write as soon as nobody else does."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        _execute_patiently(connection, "BEGIN IMMEDIATE")
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1e3:.0f}")


def _execute_patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Execute it as soon as nobody is in the way, or let SQLite's error through in the end."""
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline_s:
                raise
        else:
            return
        time.sleep(random.uniform(GAP_S / 4, GAP_S / 2))  # noqa: S311  # so that two who wait do not meet again


def _sentence(path: Path, error: Exception) -> str:
    """What happened to the database and what to do about it."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return f"The database {path} is gone. Put it back, or restart the server to begin with an empty one."
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
