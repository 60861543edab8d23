"""The SQLite store: atomic, durable, and honest when it cannot."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from clipper.control.desired import create_application, create_version
from clipper.domain import Application, Desired, Observed, Replica, VersionSpec, VersionStatus
from clipper.errors import AlreadyExists, Conflict, StoreUnavailable
from clipper.state.lock import DataDirLock
from clipper.state.sqlite import SqliteStore


def an_application(name="digits", **fields):
    return Application(**{"name": name, "input_type": "doubles", "slo_ms": 20, **fields})


def adding(application):
    return lambda desired, _revision: create_application(desired, application)


def deploying(model, version):
    spec = VersionSpec(version=version, flavor="noop", input_type="doubles")
    return lambda desired, revision: create_version(
        desired, model, spec, generation=revision, digest=None, manifest={}, now=1.5
    )


@pytest.fixture
async def store(tmp_path):
    opened = await SqliteStore.open(tmp_path)
    yield opened
    await opened.close()


async def test_everything_comes_back_after_reopening(store, tmp_path):
    await store.change(adding(an_application(default_output=None, policy="single", min_confidence=0.5)))
    await store.change(adding(an_application("letters", default_output={"label": [1, None]})))
    await store.change(adding(an_application("without-default")))
    await store.change(deploying("svm", 1))
    replica = Replica(replica_id="r", model="svm", version="1", generation=4, host_id="h", address="unix:/x", pid=7)
    status = VersionStatus(model="svm", version="1", generation=4, state="failed", reason="no")
    observed = Observed(
        current={"svm": "1"}, previous={"svm": ("2",)}, statuses={"svm": {"1": status}}, replicas={"r": replica}
    )
    written = await store.report(lambda _old: observed)

    reopened = await SqliteStore.open(tmp_path)
    read = await reopened.snapshot()
    await reopened.close()

    assert reopened.installation_id == store.installation_id
    assert read == written
    assert read.observed == observed
    assert read.desired.versions["svm"]["1"].generation == 4
    assert read.desired.applications["digits"].has_default
    assert not read.desired.applications["without-default"].has_default


async def test_each_change_raises_the_revision_by_one_and_hands_it_to_the_edit(store):
    revisions = []

    def noting(name):
        def edit(desired, revision):
            revisions.append(revision)
            return create_application(desired, an_application(name))

        return edit

    await asyncio.gather(*(store.change(noting(f"app-{i}")) for i in range(10)))
    assert revisions == list(range(1, 11))
    assert await store.revision() == 10


async def test_an_edit_that_raises_changes_nothing(store):
    await store.change(adding(an_application()))
    with pytest.raises(AlreadyExists):
        await store.change(adding(an_application()))
    assert await store.revision() == 1


async def test_an_edit_that_changes_nothing_keeps_the_revision_and_tells_nobody(store):
    told = []
    store.subscribe(lambda: told.append(1))
    await store.change(adding(an_application()))
    await store.change(lambda desired, _revision: desired.model_copy())
    await store.report(lambda observed: observed.model_copy())
    assert await store.revision() == 1
    assert told == [1]


async def test_a_subscriber_is_told_until_it_unsubscribes(store):
    told = asyncio.Event()
    unsubscribe = store.subscribe(told.set)
    await store.change(adding(an_application()))
    await told.wait()
    told.clear()
    unsubscribe()
    await store.change(adding(an_application("letters")))
    assert not told.is_set()


async def test_a_default_of_null_is_told_from_no_default(store):
    await store.change(adding(an_application()))
    snapshot = await store.change(
        lambda desired, _revision: Desired(applications={"digits": an_application(default_output=None)})
    )
    assert snapshot.revision == 2
    assert snapshot.desired.applications["digits"].has_default


async def test_another_process_s_changes_are_seen(store, tmp_path):
    other = await SqliteStore.open(tmp_path)
    await store.snapshot()
    await other.change(adding(an_application()))
    assert await store.revision() == 1
    assert list((await store.snapshot()).desired.applications) == ["digits"]
    await store.change(adding(an_application("letters")))
    assert sorted((await other.snapshot()).desired.applications) == ["digits", "letters"]
    await other.close()


async def test_two_processes_creating_one_store_agree_on_its_installation(tmp_path):
    opened = await asyncio.gather(*(SqliteStore.open(tmp_path) for _ in range(4)))
    assert len({store.installation_id for store in opened}) == 1
    await asyncio.gather(*(store.close() for store in opened))


async def test_a_closed_store_says_so(store):
    await store.close()
    with pytest.raises(StoreUnavailable, match="shutting down"):
        await store.snapshot()


WRITER = """
import asyncio, sys
from pathlib import Path
from clipper.domain import Application
from clipper.control.desired import create_application
from clipper.state.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    n = 0
    while True:
        app = Application(name=f"app-{n}", input_type="doubles", slo_ms=20)
        snapshot = await store.change(lambda desired, _r: create_application(desired, app))
        print(snapshot.revision, flush=True)
        n += 1

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(tmp_path):
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    acknowledged = 0
    while acknowledged < 25:
        acknowledged = int(await writer.stdout.readline())
    writer.kill()
    rest, _ = await writer.communicate()
    acknowledged = max([acknowledged, *map(int, rest.split())])

    store = await SqliteStore.open(tmp_path)
    snapshot = await store.snapshot()
    await store.close()
    assert snapshot.revision in {acknowledged, acknowledged + 1}
    assert len(snapshot.desired.applications) == snapshot.revision


async def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "clipper.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreUnavailable, match=r"clipper\.db is damaged or no database"):
        await SqliteStore.open(tmp_path)


async def test_a_newer_version_s_database_is_refused_with_a_sentence(store, tmp_path):
    await store.close()
    connection = sqlite3.connect(tmp_path / "clipper.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreUnavailable, match="schema version 99, this Clipper knows 3"):
        await SqliteStore.open(tmp_path)


async def test_an_unreadable_document_is_reported_not_raised_bare(store, tmp_path):
    await store.change(adding(an_application()))
    connection = sqlite3.connect(tmp_path / "clipper.db")
    with connection:
        connection.execute("UPDATE documents SET body = '{\"name\": 1}'")
        connection.execute("UPDATE meta SET value = '2' WHERE name = 'revision'")
    connection.close()
    with pytest.raises(StoreUnavailable, match="holds a document that cannot be read"):
        await store.snapshot()


async def test_a_full_database_refuses_changes_and_recovers(store):
    await store.change(adding(an_application()))
    await store._database.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreUnavailable, match="The disk is full") as refused:
        await store.change(adding(an_application("letters", default_output="x" * 100_000)))
    assert refused.value.retry_after_s
    # The next connection has no such limit: as after somebody freed the disk.
    snapshot = await store.change(adding(an_application("letters")))
    assert (snapshot.revision, sorted(snapshot.desired.applications)) == (2, ["digits", "letters"])


async def test_a_read_only_database_refuses_changes_and_still_reads(store):
    await store._database.run(lambda connection: connection.execute("PRAGMA query_only = ON"))
    with pytest.raises(StoreUnavailable, match="read-only"):
        await store.change(adding(an_application()))
    assert (await store.snapshot()).revision == 0


async def test_a_database_that_was_replaced_while_open_is_not_taken_for_ours(store, tmp_path):
    other = await SqliteStore.open(tmp_path / "other")
    await other.change(adding(an_application()))
    await other.close()
    (tmp_path / "other" / "clipper.db").replace(tmp_path / "clipper.db")
    with pytest.raises(StoreUnavailable, match="was replaced"):
        await store.snapshot()


async def test_a_cancelled_change_leaves_the_store_usable(store):
    change = asyncio.ensure_future(store.change(adding(an_application())))
    await asyncio.sleep(0)
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    assert (await store.snapshot()).revision in {0, 1}


def test_the_data_directory_has_one_server_and_names_it(tmp_path):
    with DataDirLock(tmp_path), pytest.raises(Conflict, match=f"used by the server with pid {os.getpid()}"):
        DataDirLock(tmp_path)
    DataDirLock(tmp_path).release()


def test_the_lock_of_a_killed_server_is_free_though_its_children_live(tmp_path):
    script = (
        "import subprocess, sys, time; from pathlib import Path; from clipper.state.lock import DataDirLock\n"
        "lock = DataDirLock(Path(sys.argv[1]))\n"
        "child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); time.sleep(60)"
    )
    server = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = int(server.stdout.readline())
    try:
        with pytest.raises(Conflict, match=str(server.pid)):
            DataDirLock(tmp_path)
        server.kill()
        server.wait()
        DataDirLock(tmp_path).release()
    finally:
        os.kill(child, signal.SIGKILL)
        server.stdout.close()
