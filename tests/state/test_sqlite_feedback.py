"""The feedback store: what is acknowledged counts, once, and outlives everything."""

import asyncio
import os
import random
import signal
import sqlite3
import sys

import msgspec
import pytest
from feedback_log import assert_same, recomputed, whole_log
from hypothesis import given, settings
from hypothesis import strategies as st

from clipper.errors import StoreUnavailable
from clipper.feedback import FeedbackRecord
from clipper.state import database, sqlite_feedback
from clipper.state.sqlite import SqliteStore
from clipper.state.sqlite_feedback import SqliteFeedbackStore

DIGITS = ("digits", 1)
SHARED = ("digits", 1, "")


def a_record(number, uid=None, *, application="digits", generation=1, loss=1.0, at=1000.0, half_life=None):
    return FeedbackRecord(
        application=application,
        generation=generation,
        feedback_id=b"%012d" % number,
        accepted_at=at,
        answered_at=at - 1,
        full_information=False,
        policy="exp3",
        models=("svm:1",),
        arms=("svm",),
        propensities=(0.5,),
        outputs=(3,),
        losses=(loss,),
        label={"any": ["json", None]},
        change={"svm": {"plays": 1.0, "loss": loss}},
        half_life_feedbacks=half_life,
        uid=uid,
    )


@pytest.fixture
async def store(tmp_path):
    opened = await SqliteFeedbackStore.open(tmp_path)
    yield opened
    await opened.close()


async def test_what_was_committed_is_there_after_reopening(store, tmp_path):
    committed = await store.commit([a_record(1, "ann"), a_record(2)])
    reopened = await SqliteFeedbackStore.open(tmp_path)
    records = await whole_log(reopened, DIGITS)
    found = await reopened.evidence([SHARED, ("digits", 1, "ann"), ("digits", 1, "bob")])
    await reopened.close()
    assert committed.accepted == [True, True]
    assert found == committed.evidence
    assert found[SHARED].present() == {"svm": {"plays": 2.0, "loss": 2.0}}
    assert [(record.positions, record.label) for record in records] == [
        ((1, 1), {"any": ["json", None]}),
        ((2,), {"any": ["json", None]}),
    ]


async def test_the_same_feedback_counts_once_within_a_group_and_ever(store):
    assert (await store.commit([a_record(1), a_record(1)])).accepted == [True, False]
    again = await store.commit([a_record(1)])
    assert (again.accepted, again.evidence) == ([False], {})
    assert (await store.commit([a_record(1, generation=2)])).accepted == [True]
    assert len(await whole_log(store, DIGITS)) == 1


async def test_all_processes_share_one_key(store, tmp_path):
    other = await SqliteFeedbackStore.open(tmp_path)
    assert await other.token_key() == await store.token_key()
    assert len(await store.token_key()) == 32
    await other.close()


async def test_two_processes_lose_nothing_of_each_other(store, tmp_path):
    other = await SqliteFeedbackStore.open(tmp_path)
    await asyncio.gather(
        *(s.commit([a_record(1000 * i + k, "ann")]) for i, s in enumerate((store, other)) for k in range(50))
    )
    found = await store.evidence([SHARED])
    await other.close()
    assert found[SHARED].present() == {"svm": {"plays": 100.0, "loss": 100.0}}


async def test_others_learn_which_contexts_changed(store):
    start = await store.changes(-1)
    assert start.everything
    await store.commit([a_record(1, "ann"), a_record(2, application="letters")])
    changes = await store.changes(start.sequence)
    assert changes.contexts == {SHARED, ("digits", 1, "ann"), ("letters", 1, "")}
    assert (await store.changes(changes.sequence)).contexts == set()


async def test_whoever_is_far_behind_reads_everything(store, monkeypatch):
    monkeypatch.setattr(sqlite_feedback, "MAX_CHANGES", 3)
    await store.commit([a_record(n, f"user-{n}") for n in range(5)])
    assert (await store.changes(0)).everything


async def test_the_log_comes_in_pages_and_by_time(store, monkeypatch):
    monkeypatch.setattr(sqlite_feedback, "PAGE_RECORDS", 10)
    await store.commit([a_record(n, at=1000.0 + n) for n in range(25)])
    await store.commit([a_record(99, application="letters")])
    assert len(await whole_log(store, DIGITS)) == 25
    times = [record.accepted_at for record in await whole_log(store, DIGITS, since=1012.0, until=1024.0)]
    assert times == [1000.0 + n for n in range(12, 24)]
    assert await whole_log(store, DIGITS, since=2000.0) == []


async def test_what_is_over_goes_and_so_does_what_belongs_to_nobody(store, monkeypatch):
    monkeypatch.setattr(sqlite_feedback, "DELETED_AT_ONCE", 3)
    await store.commit([a_record(n, "ann", at=float(n)) for n in range(20)])
    await store.commit([a_record(n, application="gone", at=50.0) for n in range(7)])
    assert await store.applications() == {DIGITS, ("gone", 1)}
    assert await store.prune(10.0, [("gone", 1)]) == 17
    assert await store.applications() == {DIGITS}
    assert [record.accepted_at for record in await whole_log(store, DIGITS)] == [float(n) for n in range(10, 20)]
    assert await whole_log(store, ("gone", 1)) == []
    assert list(await store.evidence([SHARED, ("gone", 1, "")])) == [SHARED]
    assert (await store.commit([a_record(3)])).accepted == [True], "its id was kept longer than the record"


async def test_an_erased_person_leaves_nothing_behind_not_even_in_the_files(store, tmp_path):
    before = await store.changes(-1)
    await store.commit([a_record(1, "ann-of-green-gables"), a_record(2, "bob")])
    await store.commit([a_record(3, "ann-of-green-gables", application="letters")])
    assert await store.erase_uid("ann-of-green-gables") == 2
    assert [record.uid for record in await whole_log(store, DIGITS)] == ["bob"]
    assert await store.evidence([("digits", 1, "ann-of-green-gables")]) == {}
    assert (await store.changes(before.sequence)).everything
    assert (await store.changes((await store.changes(-1)).sequence)).everything is False
    assert (await store.commit([a_record(1)])).accepted == [False], "a repeat still counts once"
    for file in tmp_path.iterdir():
        assert b"green-gables" not in file.read_bytes()


async def test_a_query_id_from_before_the_erasure_does_not_bring_the_person_back(store, tmp_path):
    store._wall_clock = lambda: 2000.0
    await store.erase_uid("ann")
    other = await SqliteFeedbackStore.open(tmp_path)
    before, after, somebody = (
        a_record(1, "ann", at=3000.0),
        a_record(2, "ann", at=2002.0),
        a_record(3, "bob", at=1500.0),
    )
    before = msgspec.structs.replace(before, answered_at=1999.0)
    assert (await other.commit([before, after, somebody])).accepted == [None, True, True]
    await other.close()
    assert [record.feedback_id for record in await whole_log(store, DIGITS)] == [b"%012d" % 2, b"%012d" % 3]
    await store.prune(2000.5)
    assert (await store.commit([before])).accepted == [True], "it was remembered for longer than the query id is good"


async def test_feedback_counts_once_for_as_long_as_its_query_id_is_good_though_the_clock_was_set_back(store):
    answered_in_the_future = msgspec.structs.replace(a_record(1, at=1000.0), answered_at=5000.0)
    assert (await store.commit([answered_in_the_future])).accepted == [True]
    await store.prune(4000.0)
    assert (await store.commit([answered_in_the_future])).accepted == [False]


async def test_a_store_that_another_process_holds_says_so_and_recovers(store, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)
    holder = sqlite3.connect(tmp_path / "clipper.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="Another process holds its lock"):
        await store.commit([a_record(1)])
    holder.execute("ROLLBACK")
    holder.close()
    assert (await store.commit([a_record(1)])).accepted == [True]


async def test_a_full_disk_refuses_the_whole_group(store):
    await store._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreUnavailable, match="free some space"):
        await store.commit([a_record(n, f"user-{n}") for n in range(500)])
    assert await whole_log(store, DIGITS) == []
    assert (await store.commit([a_record(1)])).accepted == [True]


async def test_a_data_directory_of_the_first_schema_is_kept(tmp_path):
    old = sqlite3.connect(tmp_path / "clipper.db")
    old.executescript(
        """CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
           CREATE TABLE documents (kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
                                   PRIMARY KEY (kind, name)) WITHOUT ROWID;
           INSERT INTO meta VALUES ('revision', '7'), ('installation_id', 'abc');
           PRAGMA user_version = 1;"""
    )
    old.close()
    store, feedback = await SqliteStore.open(tmp_path), await SqliteFeedbackStore.open(tmp_path)
    assert (store.installation_id, await store.revision()) == ("abc", 7)
    assert (await feedback.commit([a_record(1)])).accepted == [True]
    await store.close()
    await feedback.close()


@settings(max_examples=25, deadline=None)
@given(
    feedback=st.lists(
        st.tuples(st.sampled_from([None, "ann", "bob"]), st.floats(0, 1), st.sampled_from([None, 3.0])), max_size=40
    ),
    seed=st.integers(0, 1 << 30),
)
def test_evidence_is_what_the_log_says_in_any_order(tmp_path_factory, feedback, seed):
    async def run():
        store = await SqliteFeedbackStore.open(tmp_path_factory.mktemp("feedback"))
        half_life = feedback[0][2] if feedback else None
        records = [a_record(n, uid, loss=loss, half_life=half_life) for n, (uid, loss, _) in enumerate(feedback)]
        for first in range(0, len(records), 7):
            await store.commit(records[first : first + 7])
        log = await whole_log(store, DIGITS)
        random.Random(seed).shuffle(log)
        expected = recomputed(log)
        assert_same(await store.evidence(list(expected)), expected)
        await store.close()

    asyncio.run(run())


COMMITTER = """
import asyncio, sys
sys.path[:0] = [sys.argv[2]]
from pathlib import Path
from test_sqlite_feedback import a_record
from clipper.state.sqlite_feedback import SqliteFeedbackStore

async def client(store, number):
    for k in range(10**6):
        record = a_record(number * 10**7 + k + int(sys.argv[3]) * 10**9, f"user-{k % 3}", half_life=50.0)
        accepted = (await store.commit([record])).accepted
        assert accepted == [True]
        print(record.feedback_id.decode(), flush=True)

async def main():
    store = await SqliteFeedbackStore.open(Path(sys.argv[1]))
    await asyncio.gather(*(client(store, number) for number in range(8)))

asyncio.run(main())
"""


async def committed_until_killed(data_dir, number, after_lines):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        COMMITTER,
        str(data_dir),
        os.path.dirname(__file__),  # noqa: PTH120  # a string for the command line
        str(number),
        stdout=asyncio.subprocess.PIPE,
    )
    lines = [await process.stdout.readline() for _ in range(after_lines)]
    process.send_signal(signal.SIGKILL)
    lines += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    return {line.strip() for line in lines if line.endswith(b"\n")}


async def test_kill_9_loses_nothing_that_was_acknowledged_and_counts_nothing_twice(tmp_path):
    chance = random.Random(7)
    acknowledged = set()
    for number in range(4):
        acknowledged |= await committed_until_killed(tmp_path, number, chance.randrange(10, 120))
    store = await SqliteFeedbackStore.open(tmp_path)
    log = await whole_log(store, DIGITS)
    ids = [record.feedback_id for record in log]
    assert acknowledged <= set(ids)
    assert len(ids) == len(set(ids))
    chance.shuffle(log)
    expected = recomputed(log)
    assert_same(await store.evidence(list(expected)), expected)
    await store.close()
