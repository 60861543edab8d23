"""The tables of the SQLite file, and how an older file becomes a current one."""

import sqlite3

from clipper.errors import StoreUnavailable

SCHEMA_VERSION = 3

_STEPS = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE documents
           (kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID""",
        "INSERT INTO meta VALUES ('revision', '0'), ('installation_id', lower(hex(randomblob(16))))",
    ),
    (
        "INSERT INTO meta VALUES ('token_key', lower(hex(randomblob(32)))), ('evidence_lost', '0')",
        """CREATE TABLE evidence
           (application TEXT NOT NULL, generation INTEGER NOT NULL, uid TEXT NOT NULL, sequence INTEGER NOT NULL,
            body BLOB NOT NULL, PRIMARY KEY (application, generation, uid)) WITHOUT ROWID""",
        "CREATE INDEX evidence_by_sequence ON evidence (sequence)",
        "CREATE INDEX evidence_by_uid ON evidence (uid)",
        """CREATE TABLE feedback
           (sequence INTEGER PRIMARY KEY AUTOINCREMENT, application TEXT NOT NULL, generation INTEGER NOT NULL,
            accepted_at REAL NOT NULL, uid TEXT, body BLOB NOT NULL)""",
        "CREATE INDEX feedback_by_application ON feedback (application, generation, sequence, accepted_at)",
        "CREATE INDEX feedback_by_time ON feedback (accepted_at)",
        "CREATE INDEX feedback_by_uid ON feedback (uid) WHERE uid IS NOT NULL",
        """CREATE TABLE feedback_ids
           (application TEXT NOT NULL, generation INTEGER NOT NULL, id BLOB NOT NULL, accepted_at REAL NOT NULL,
            PRIMARY KEY (application, generation, id)) WITHOUT ROWID""",
        "CREATE INDEX feedback_ids_by_time ON feedback_ids (accepted_at)",
    ),
    (
        "CREATE TABLE erased (uid_digest BLOB PRIMARY KEY, erased_at REAL NOT NULL) WITHOUT ROWID",
        "CREATE INDEX erased_by_time ON erased (erased_at)",
    ),
)
"""What leads from each version to the next. Steps that a release has run are never changed."""


def bring_up_to_date(connection: sqlite3.Connection, path: object) -> None:
    """Make the tables, or add those that an older file lacks, in one transaction.

    Raises:
        StoreUnavailable: The file is a newer version's, or another program's.
    """
    connection.execute("BEGIN IMMEDIATE")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    others = found == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] > 0
    if others or not 0 <= found <= SCHEMA_VERSION:
        raise StoreUnavailable(
            f"{path} has the schema version {found}, this Clipper knows {SCHEMA_VERSION}. "
            "Use the Clipper that wrote it, or another --data-dir."
        )
    if found < SCHEMA_VERSION:
        for statement in (statement for step in _STEPS[found:] for statement in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def read_meta(connection: sqlite3.Connection, name: str) -> str:
    """One of the values that the file has once."""
    return str(connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])
