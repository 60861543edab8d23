"""Feedback goes when its time is over or its application is, and no sooner."""

import asyncio

import pytest
from feedback_log import whole_log
from test_sqlite_feedback import a_record

from clipper.control.desired import create_application, delete_application
from clipper.domain import Application
from clipper.errors import StoreUnavailable
from clipper.server.retention import Retention
from clipper.state.sqlite import SqliteStore
from clipper.state.sqlite_feedback import SqliteFeedbackStore


@pytest.fixture
async def store(tmp_path):
    opened = await SqliteStore.open(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def feedback(tmp_path):
    opened = await SqliteFeedbackStore.open(tmp_path)
    yield opened
    await opened.close()


async def create(store, name):
    app = Application(name=name, input_type="doubles", slo_ms=20)
    snapshot = await store.change(lambda desired, revision: create_application(desired, app, generation=revision))
    return name, snapshot.desired.generations[name]


def retention(store, feedback, **options):
    return Retention(store, feedback, retention_s=100.0, wall_clock=lambda: 1000.0, **options)


async def test_it_drops_what_is_old_and_what_belonged_to_a_deleted_application(store, feedback):
    kept, gone = await create(store, "kept"), await create(store, "gone")
    for name, generation in (kept, gone):
        times = (899.0, 950.0)
        await feedback.commit(
            [a_record(n, application=name, generation=generation, at=at) for n, at in enumerate(times)]
        )
    await store.change(lambda desired, _revision: delete_application(desired, "gone"))
    await create(store, "gone")
    assert await retention(store, feedback).prune() == 3
    assert [record.accepted_at for record in await whole_log(feedback, kept)] == [950.0]
    assert await feedback.applications() == {kept}


async def test_an_application_that_is_made_meanwhile_keeps_its_feedback(store, feedback):
    made = []

    class Meanwhile:
        async def snapshot(self):
            snapshot = await store.snapshot()
            name, generation = await create(store, "new")
            await feedback.commit([a_record(1, application=name, generation=generation, at=999.0)])
            made.append((name, generation))
            return snapshot

    assert await retention(Meanwhile(), feedback).prune() == 0
    assert len(await whole_log(feedback, made[0])) == 1


async def test_a_store_that_fails_is_looked_at_again(store, caplog):
    looked = asyncio.Event()
    answers = [StoreUnavailable("The disk is full."), None]

    class Failing:
        async def applications(self):
            if (failure := answers.pop(0)) is not None:
                raise failure
            looked.set()
            return set()

        async def prune(self, before, gone):
            assert (before, gone) == (900.0, set())
            return 0

    task = asyncio.create_task(retention(store, Failing(), interval_s=0.001).run())
    await looked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "The disk is full." in caplog.text
