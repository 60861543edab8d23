"""Feedback of many callers on its way into the store, in groups."""

import asyncio
import time

import pytest
from feedback_fakes import APP, FakeFeedbackStore, record

from clipper.engine.group_commit import MAX_GROUP_RECORDS, GroupCommit
from clipper.errors import InternalError, ShuttingDown, StoreUnavailable
from clipper.metrics import FeedbackMetrics

SHARED = (*APP, "")


def commits_to(store: FakeFeedbackStore, told=lambda _evidence: None, **options) -> GroupCommit:
    return GroupCommit(store, metrics=FeedbackMetrics(), clock=time.monotonic, on_committed=told, **options)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_record_is_committed_at_once_and_its_evidence_told_before_its_caller():
    store, told = FakeFeedbackStore(), []
    commits = commits_to(store, told.append)
    assert await commits.commit([record(1)]) == [True]
    assert [evidence[SHARED].n for evidence in told] == [1]
    assert commits.pending_records == 0


async def test_while_one_group_is_committed_the_next_gathers():
    store = FakeFeedbackStore()
    store.gate.clear()
    commits = commits_to(store)
    first = asyncio.create_task(commits.commit([record(0)]))
    await turns()
    rest = [asyncio.create_task(commits.commit([record(n)])) for n in range(1, 40)]
    await turns()
    assert store.groups == [1]
    store.gate.set()
    assert await asyncio.gather(first, *rest) == [[True]] * 40
    assert store.groups == [1, 39]


async def test_a_repeat_counts_once_in_one_group_and_across_groups():
    store = FakeFeedbackStore()
    commits = commits_to(store)
    assert await commits.commit([record(1), record(2), record(1)]) == [True, True, False]
    assert await commits.commit([record(2)]) == [False]
    assert store.known[SHARED].sums["svm"]["plays"] == 2.0


async def test_under_concurrency_exactly_one_of_many_equal_ones_is_new():
    store = FakeFeedbackStore()
    commits = commits_to(store)
    outcomes = await asyncio.gather(*(commits.commit([record(n % 10)]) for n in range(200)))
    assert sum(accepted for (accepted,) in outcomes) == 10
    assert len(store.records) == 10


async def test_a_caller_that_goes_takes_nothing_back_and_harms_nobody():
    store = FakeFeedbackStore()
    store.gate.clear()
    commits = commits_to(store)
    tasks = [asyncio.create_task(commits.commit([record(n)])) for n in range(3)]
    await turns()
    tasks[0].cancel()  # is being committed
    tasks[1].cancel()  # waits
    await turns()
    store.gate.set()
    assert await tasks[2] == [True]
    assert [task.cancelled() for task in tasks] == [True, True, False]
    assert len(store.records) == 3


async def test_a_store_that_fails_fails_the_group_and_not_the_next_one():
    store = FakeFeedbackStore(failure=StoreUnavailable("the disk is full", retry_after_s=1.0))
    commits = commits_to(store)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await commits.commit([record(1)])
    store.failure = None
    assert await commits.commit([record(1)]) == [True]
    assert commits.pending_records == 0


async def test_beyond_the_bound_feedback_is_refused_with_a_time_to_come_back():
    store = FakeFeedbackStore()
    store.gate.clear()
    commits = commits_to(store, max_waiting_records=3)
    taken = [asyncio.create_task(commits.commit([record(n)])) for n in range(3)]
    await turns()
    with pytest.raises(StoreUnavailable, match="3 pieces of feedback wait") as refused:
        await commits.commit([record(4)])
    assert refused.value.retry_after_s > 0
    store.gate.set()
    assert await asyncio.gather(*taken) == [[True]] * 3
    assert await commits.commit([record(4)]) == [True]


async def test_who_waits_too_long_is_told_and_the_record_is_committed_all_the_same():
    store = FakeFeedbackStore()
    store.gate.clear()
    commits = commits_to(store, timeout_s=0.01)
    with pytest.raises(StoreUnavailable, match="Send it again"):
        await commits.commit([record(1)])
    store.gate.set()
    await commits.close(5.0)
    assert len(store.records) == 1


async def test_a_record_that_breaks_the_store_costs_its_own_caller_only(caplog):
    store = FakeFeedbackStore(poison=b"1")
    store.gate.clear()
    commits = commits_to(store)
    tasks = [asyncio.create_task(commits.commit([record(n + 10)])) for n in range(1)]
    await turns()
    tasks += [asyncio.create_task(commits.commit([record(n)])) for n in range(3)]
    await turns()
    store.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome != [True]] == [outcomes[2]]
    assert isinstance(outcomes[2], InternalError)
    assert "could not be committed" in caplog.text
    assert commits.pending_records == 0


async def test_the_records_of_one_caller_share_a_transaction_and_groups_are_bounded():
    store = FakeFeedbackStore()
    store.gate.clear()
    commits = commits_to(store)
    tasks = [asyncio.create_task(commits.commit([record(0)]))]
    await turns()
    tasks += [asyncio.create_task(commits.commit([record(k * 1000 + n + 1) for n in range(900)])) for k in range(3)]
    await turns()
    store.gate.set()
    await asyncio.gather(*tasks)
    assert store.groups == [1, 1800, 900]
    assert max(store.groups) <= MAX_GROUP_RECORDS


async def test_closing_commits_what_was_taken_and_takes_nothing_new():
    store = FakeFeedbackStore()
    store.gate.clear()
    commits = commits_to(store)
    taken = asyncio.create_task(commits.commit([record(1)]))
    await turns()
    closing = asyncio.create_task(commits.close(5.0))
    await turns()
    with pytest.raises(ShuttingDown):
        await commits.commit([record(2)])
    store.gate.set()
    await closing
    assert await taken == [True]


async def test_evidence_that_cannot_be_taken_over_does_not_cost_the_acknowledgement(caplog):
    def fail(_evidence):
        raise ValueError("no")

    assert await commits_to(FakeFeedbackStore(), fail).commit([record(1)]) == [True]
    assert "could not be taken over" in caplog.text
