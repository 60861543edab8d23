"""One file, many who use it: nobody waits long, nothing grows with the number of users, and the file may fail."""

import asyncio
import random
import shutil
import sqlite3
import threading

import pytest
from feedback_log import assert_same, recomputed, whole_log
from test_sqlite_feedback import DIGITS, SHARED, a_record

from clipper.control.desired import create_application
from clipper.domain import Application
from clipper.errors import StoreUnavailable
from clipper.state import database, sqlite_feedback
from clipper.state.sqlite import SqliteStore
from clipper.state.sqlite_feedback import SqliteFeedbackStore


@pytest.fixture
async def store(tmp_path):
    opened = await SqliteFeedbackStore.open(tmp_path)
    yield opened
    await opened.close()


async def test_whoever_writes_without_a_pause_lets_others_in(store, tmp_path):
    other = await SqliteStore.open(tmp_path)
    done = asyncio.Event()
    began = threading.Event()
    written = []

    def hog(connection):
        while not done.is_set() and len(written) < 1000:
            with store._writer.transaction(connection):
                connection.execute("UPDATE meta SET value = value WHERE name = 'evidence_lost'")
            written.append(1)
            began.set()

    hogging = asyncio.create_task(store._writer.run(hog))
    await asyncio.to_thread(began.wait)
    app = Application(name="app", input_type="doubles", slo_ms=20)
    before = len(written)
    await other.change(lambda desired, _revision: create_application(desired, app))
    waited_for = len(written) - before
    done.set()
    await hogging
    await other.close()
    assert waited_for < 100


async def test_reading_does_not_wait_for_a_commit(store, tmp_path):
    await store.commit([a_record(1)])
    holder = sqlite3.connect(tmp_path / "clipper.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    commit = asyncio.create_task(store.commit([a_record(2)]))
    assert (await store.evidence([SHARED]))[SHARED].n == 1
    assert len(await whole_log(store, DIGITS)) == 1
    assert (await store.changes(0)).contexts == {SHARED}
    assert not commit.done()
    holder.execute("ROLLBACK")
    holder.close()
    assert (await commit).accepted == [True]


async def steps(side, act):
    """How many instructions of SQLite's machine it takes."""
    taken = [0]

    def count():
        taken[0] += 1

    await side.run(lambda connection: connection.set_progress_handler(count, 10))
    await act()
    await side.run(lambda connection: connection.set_progress_handler(None, 10))
    return taken[0] * 10


async def test_no_step_looks_at_all_users_or_at_the_whole_log(store, monkeypatch):
    monkeypatch.setattr(sqlite_feedback, "PAGE_RECORDS", 20)
    for first in range(0, 5000, 500):
        await store.commit([a_record(n, f"user-{n}", at=float(n)) for n in range(first, first + 500)])
    await store.commit([a_record(1, application="letters", at=9999.0)])
    known = (await store.changes(-1)).sequence
    reader, writer = store._reader, store._writer
    taken = {
        "evidence": await steps(reader, lambda: store.evidence([SHARED, ("digits", 1, "user-77")])),
        "changes": await steps(reader, lambda: store.changes(known)),
        "applications": await steps(reader, store.applications),
        "short log": await steps(reader, lambda: store.log(("letters", 1))),
        "page of a long log": await steps(reader, lambda: store.log(DIGITS, after_sequence=2000)),
        "commit": await steps(writer, lambda: store.commit([a_record(10_000, "user-77")])),
        "prune": await steps(writer, lambda: store.prune(3.0)),
        "erase": await steps(writer, lambda: store.erase_uid("user-99")),
    }
    assert max(taken.values()) < 3000, taken


async def test_an_erasure_says_when_a_reader_keeps_traces_alive(store, tmp_path, monkeypatch):
    await store.commit([a_record(1, "ann-of-green-gables")])
    reader = sqlite3.connect(tmp_path / "clipper.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM feedback").fetchone()
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)
    with pytest.raises(StoreUnavailable, match="traces are left in its write-ahead log"):
        await store.erase_uid("ann-of-green-gables")
    reader.close()
    assert await store.erase_uid("ann-of-green-gables") == 0
    for file in tmp_path.iterdir():
        assert b"green-gables" not in file.read_bytes()


async def test_an_erased_person_leaves_nothing_behind_among_many(store, tmp_path):
    uids = [f"person-{n * 7919 % 4000:05d}" for n in range(4000)]
    for first in range(0, 4000, 500):
        records = [a_record(first + n, uid) for n, uid in enumerate(uids[first : first + 500])]
        await store.commit(records)
    for uid in uids[:5]:
        assert await store.erase_uid(uid) == 1
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert [uid for uid in uids[:10] if uid.encode() in content] == uids[5:10]


async def test_a_file_that_was_deleted_takes_no_feedback(store, tmp_path):
    kept = tmp_path / "kept"
    await store.commit([a_record(1)])
    (tmp_path / "clipper.db").rename(kept)
    with pytest.raises(StoreUnavailable, match=r"clipper\.db is gone"):
        await store.commit([a_record(2)])
    with pytest.raises(StoreUnavailable, match=r"clipper\.db is gone"):
        await store.evidence([SHARED])
    kept.rename(tmp_path / "clipper.db")
    assert (await store.commit([a_record(1), a_record(2)])).accepted == [False, True]


async def test_every_commit_waits_for_the_disk(store):
    assert await store._writer.run(lambda connection: connection.execute("PRAGMA synchronous").fetchone()) == (2,)
    assert await store._writer.run(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


async def test_a_write_ahead_log_that_a_power_cut_tore_leaves_log_and_evidence_in_agreement(store, tmp_path):
    for number in range(30):
        await store.commit([a_record(2 * number + k, f"user-{k}", half_life=10.0) for k in range(2)])
    chance = random.Random(5)
    counts = set()
    for attempt in range(8):
        torn = tmp_path / f"torn-{attempt}"
        torn.mkdir()
        shutil.copy(tmp_path / "clipper.db", torn)
        whole = (tmp_path / "clipper.db-wal").read_bytes()
        (torn / "clipper.db-wal").write_bytes(whole[: chance.randrange(len(whole) // 2, len(whole))])
        reopened = await SqliteFeedbackStore.open(torn)
        log = await whole_log(reopened, DIGITS)
        expected = recomputed(log)
        assert_same(await reopened.evidence(list(expected)), expected)
        counts.add(len(log))
        await reopened.close()
    assert len(counts) > 1, "nothing was torn"
    assert all(count % 2 == 0 for count in counts), "a group is there in part"
