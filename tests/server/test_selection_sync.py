import asyncio

import pytest

from clipper.errors import StoreUnavailable
from clipper.server.selection_sync import SelectionSync


class FakeSelection:
    def __init__(self):
        self.refreshed = 0
        self.failure = None
        self.looked = asyncio.Event()

    async def refresh(self):
        self.looked.set()
        if self.failure is not None:
            raise self.failure
        self.refreshed += 1


@pytest.mark.parametrize("failure", [StoreUnavailable("The disk is full."), TypeError("odd")])
async def test_a_store_that_fails_is_told_of_once_and_asked_again(failure, caplog):
    selection, now = FakeSelection(), [100.0]
    sync = SelectionSync(selection, clock=lambda: now[0])
    assert sync.staleness_s() is None
    await sync.catch_up()
    now[0] += 5
    selection.failure = failure
    await sync.catch_up()
    await sync.catch_up()
    assert sync.staleness_s() == 5
    assert len(caplog.records) == 1
    selection.failure = None
    await sync.catch_up()
    assert (sync.staleness_s(), selection.refreshed) == (0, 2)


async def test_it_looks_again_and_again_until_it_is_cancelled():
    selection = FakeSelection()
    task = asyncio.create_task(SelectionSync(selection, clock=lambda: 0.0, interval_s=0.001).run())
    for _ in range(3):
        await selection.looked.wait()
        selection.looked.clear()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
