"""Evidence and the feedback log in the SQLite file."""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from clipper.errors import StoreUnavailable
from clipper.evidence import Evidence
from clipper.feedback import ApplicationKey, Committed, ContextKey, FeedbackRecord
from clipper.state.database import RETRY_AFTER_S, Database
from clipper.state.feedback import Changes, Page
from clipper.state.schema import read_meta

PAGE_RECORDS: Final = 1_000
MAX_CHANGES: Final = 10_000
"""Whoever is further behind reads again what is held, which is bounded too."""
DELETED_AT_ONCE: Final = 500
"""So many rows go in one transaction: nobody else who writes waits long."""

_KEYS: Final = {
    "feedback": "sequence",
    "feedback_ids": "application, generation, id",
    "evidence": "application, generation, uid",
    "erased": "uid_digest",
}

_encode = msgspec.msgpack.Encoder().encode
_evidence_of = msgspec.msgpack.Decoder(Evidence).decode
_record_of = msgspec.msgpack.Decoder(FeedbackRecord).decode


class SqliteFeedbackStore:
    """A `FeedbackStore` in a data directory.

    The evidence of a context is one row, which a commit reads, adds to and writes inside its transaction. Reading has a
    connection of its own: a query that waits for its user does not wait for somebody's feedback to reach the disk.
    """

    def __init__(self, writer: Database, reader: Database, wall_clock: Callable[[], float] = time.time) -> None:
        self._writer = writer
        self._reader = reader
        self._wall_clock = wall_clock

    @classmethod
    async def open(cls, data_dir: Path) -> Self:
        """The feedback store of this data directory.

        Raises:
            StoreUnavailable: The file cannot be opened, is no database of ours, or is a newer version's.
        """
        writer = await Database.open(data_dir, "clipper-feedback")
        try:
            return cls(writer, await Database.open(data_dir, "clipper-evidence"))
        except BaseException:
            await writer.close()
            raise

    async def close(self) -> None:
        """Finish what is on its way and let go of the file; closing twice is harmless."""
        await self._reader.close()
        await self._writer.close()

    async def token_key(self) -> bytes:
        """See `FeedbackStore.token_key`."""
        return bytes.fromhex(await self._reader.run(lambda connection: read_meta(connection, "token_key")))

    async def commit(self, records: Sequence[FeedbackRecord]) -> Committed:
        """See `FeedbackStore.commit`."""
        return await self._writer.write(lambda connection: _commit(connection, records))

    async def evidence(self, contexts: Sequence[ContextKey]) -> dict[ContextKey, Evidence]:
        """See `FeedbackStore.evidence`."""
        return await self._reader.run(lambda connection: _read_evidence(connection, contexts))

    async def changes(self, after_sequence: int) -> Changes:
        """See `FeedbackStore.changes`."""
        return await self._reader.run(lambda connection: _changes(connection, after_sequence))

    async def log(
        self, application: ApplicationKey, *, since: float = 0.0, until: float | None = None, after_sequence: int = 0
    ) -> Page:
        """See `FeedbackStore.log`."""
        return await self._reader.run(lambda connection: _page(connection, application, since, until, after_sequence))

    async def applications(self) -> set[ApplicationKey]:
        """See `FeedbackStore.applications`."""
        return await self._reader.run(_applications)

    async def prune(self, before: float, gone: Collection[ApplicationKey] = ()) -> int:
        """See `FeedbackStore.prune`. In many small transactions: cancelled, it has removed some of it."""
        removed = await self._delete("feedback", "accepted_at < ?", before)
        await self._delete("feedback_ids", "accepted_at < ?", before)
        await self._delete("erased", "erased_at < ?", before)
        for application in gone:
            # Evidence goes last: by it an application is found again, should this be interrupted.
            removed += await self._delete("feedback", "application = ? AND generation = ?", *application)
            await self._delete("feedback_ids", "application = ? AND generation = ?", *application)
            await self._delete("evidence", "application = ? AND generation = ?", *application)
        return removed

    async def erase_uid(self, uid: str) -> int:
        """See `FeedbackStore.erase_uid`. The bytes are gone from the file and its log of changes when it returns."""
        now = self._wall_clock()
        await self._writer.write(lambda connection: _remember_erasure(connection, uid, now))
        removed, deleted = 0, DELETED_AT_ONCE
        while deleted == DELETED_AT_ONCE:
            deleted = await self._writer.write(lambda connection: _erase_some(connection, uid))
            removed += deleted
        await self._writer.run(_empty_write_ahead_log)
        return removed

    async def _delete(self, table: str, condition: str, *values: object) -> int:
        """How many rows went, a slice at a time."""
        removed, deleted = 0, DELETED_AT_ONCE
        while deleted == DELETED_AT_ONCE:
            deleted = await self._writer.write(lambda connection: _delete_some(connection, table, condition, values))
            removed += deleted
        return removed


# Everything below runs in a database's thread, and what writes inside a transaction.


def _commit(connection: sqlite3.Connection, records: Sequence[FeedbackRecord]) -> Committed:
    accepted = [None if _is_erased(connection, record) else _is_new(connection, record) for record in records]
    new = [record for record, is_new in zip(records, accepted, strict=True) if is_new]
    evidence = _read_evidence(connection, list({context for record in new for context in record.contexts}))
    sequence = 0
    for record in new:
        sequence = _log(connection, _added(record, evidence))
    connection.executemany(
        "INSERT INTO evidence VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET sequence = excluded.sequence, body = excluded.body",
        [(*context, sequence, _encode(sums)) for context, sums in evidence.items()],
    )
    return Committed(accepted, evidence)


def _is_new(connection: sqlite3.Connection, record: FeedbackRecord) -> bool:
    # Its query id is good for the retention from the answer on, which is the later one where the clock was set back.
    latest = max(record.accepted_at, record.answered_at)
    row = (record.application, record.generation, record.feedback_id, latest)
    return connection.execute("INSERT OR IGNORE INTO feedback_ids VALUES (?, ?, ?, ?)", row).rowcount == 1


def _is_erased(connection: sqlite3.Connection, record: FeedbackRecord) -> bool:
    if record.uid is None:
        return False
    query = "SELECT 1 FROM erased WHERE uid_digest = ? AND erased_at >= ?"
    return connection.execute(query, (_digest(record.uid), record.answered_at)).fetchone() is not None


def _remember_erasure(connection: sqlite3.Connection, uid: str, now: float) -> None:
    """Query ids that are out there would bring the person back; only a digest of the name is kept against them."""
    connection.execute("INSERT OR REPLACE INTO erased VALUES (?, ?)", (_digest(uid), now))


def _digest(uid: str) -> bytes:
    return hashlib.blake2b(uid.encode("utf-8", "surrogatepass"), digest_size=16, person=b"clipper erased").digest()


def _added(record: FeedbackRecord, evidence: dict[ContextKey, Evidence]) -> FeedbackRecord:
    """The record with the positions at which its change was added."""
    positions = tuple(
        evidence.setdefault(context, Evidence()).add(record.change, record.half_life_feedbacks)
        for context in record.contexts
    )
    return msgspec.structs.replace(record, positions=positions)


def _log(connection: sqlite3.Connection, record: FeedbackRecord) -> int:
    inserted = connection.execute(
        "INSERT INTO feedback (application, generation, accepted_at, uid, body) VALUES (?, ?, ?, ?, ?)",
        (record.application, record.generation, record.accepted_at, record.uid, _encode(record)),
    )
    return inserted.lastrowid or 0


def _read_evidence(connection: sqlite3.Connection, contexts: Sequence[ContextKey]) -> dict[ContextKey, Evidence]:
    """One look into the index for each: asked for many at once by their keys, SQLite reads the whole table."""
    query = "SELECT body FROM evidence WHERE application = ? AND generation = ? AND uid = ?"
    rows = ((context, connection.execute(query, context).fetchone()) for context in contexts)
    return {context: _evidence_of(row[0]) for context, row in rows if row is not None}


def _changes(connection: sqlite3.Connection, after_sequence: int) -> Changes:
    connection.execute("BEGIN")
    try:
        sequence = _last_sequence(connection)
        if after_sequence < int(read_meta(connection, "evidence_lost")) or after_sequence < 0:
            return Changes(sequence, everything=True)
        rows = connection.execute(
            "SELECT application, generation, uid FROM evidence WHERE sequence > ? LIMIT ?",
            (after_sequence, MAX_CHANGES + 1),
        ).fetchall()
    finally:
        connection.execute("ROLLBACK")
    return Changes(sequence, everything=True) if len(rows) > MAX_CHANGES else Changes(sequence, set(rows))


def _last_sequence(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'feedback'").fetchone()
    return int(row[0]) if row else 0


def _page(
    connection: sqlite3.Connection, application: ApplicationKey, since: float, until: float | None, after_sequence: int
) -> Page:
    rows = connection.execute(
        "SELECT sequence, body FROM feedback WHERE application = ? AND generation = ? AND sequence > ? "
        "AND accepted_at >= ? AND accepted_at < ? ORDER BY sequence LIMIT ?",
        (*application, after_sequence, since, float("inf") if until is None else until, PAGE_RECORDS),
    ).fetchall()
    records = [_record_of(body) for _, body in rows]
    return Page(records, rows[-1][0] if len(rows) == PAGE_RECORDS else None)


def _applications(connection: sqlite3.Connection) -> set[ApplicationKey]:
    """From one to the next by the index: there are few, and many users of each."""
    query = """
        SELECT * FROM (SELECT application, generation FROM evidence
                       WHERE application = ?1 AND generation > ?2 ORDER BY generation LIMIT 1)
        UNION ALL
        SELECT * FROM (SELECT application, generation FROM evidence
                       WHERE application > ?1 ORDER BY application, generation LIMIT 1)
        LIMIT 1"""
    found: set[ApplicationKey] = set()
    last: ApplicationKey = ("", 0)
    while (row := connection.execute(query, last).fetchone()) is not None:
        last = row
        found.add(last)
    return found


def _delete_some(connection: sqlite3.Connection, table: str, condition: str, values: tuple[object, ...]) -> int:
    columns = _KEYS[table]
    return connection.execute(
        f"DELETE FROM {table} WHERE ({columns}) IN "  # noqa: S608  # names and conditions of ours
        f"(SELECT {columns} FROM {table} WHERE {condition} LIMIT {DELETED_AT_ONCE})",
        values,
    ).rowcount


def _erase_some(connection: sqlite3.Connection, uid: str) -> int:
    """Some records of a person. With the last ones goes what was learnt, so that neither is left without the other."""
    deleted = _delete_some(connection, "feedback", "uid = ?", (uid,))
    if deleted < DELETED_AT_ONCE:
        connection.execute("DELETE FROM evidence WHERE uid = ?", (uid,))
        _let_everybody_read_again(connection)
    return deleted


def _let_everybody_read_again(connection: sqlite3.Connection) -> None:
    """Skip a number of the log: whoever has not seen it holds evidence that may be erased."""
    lost = _last_sequence(connection) + 1
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'feedback'")
    connection.execute("INSERT INTO sqlite_sequence VALUES ('feedback', ?)", (lost,))
    connection.execute("UPDATE meta SET value = ? WHERE name = 'evidence_lost'", (str(lost),))


def _empty_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Take what was deleted out of the log of changes too.

    Raises:
        StoreUnavailable: Somebody reads an older state of the file, and goes on doing so.
    """
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreUnavailable(
            "The person is erased, but another process still reads the file as it was, so that traces are left in "
            "its write-ahead log. Erase again when that process is done.",
            retry_after_s=RETRY_AFTER_S,
        )
