"""Inputs that come one by one are bundled without waiting for each other."""

import asyncio
from contextlib import aclosing

import pytest

from clipper.client.gathering import gathered


async def test_what_is_there_at_once_comes_in_bundles_that_are_bounded():
    async def inputs():
        for i in range(10):
            yield i

    assert [bundle async for bundle in gathered(inputs(), 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_no_input_waits_for_the_next_one():
    taken = asyncio.Event()

    async def inputs():
        yield 0
        await taken.wait()
        yield 1

    found = []
    async for bundle in gathered(inputs(), 4):
        found.append(bundle)
        taken.set()
    assert found == [[0], [1]]


async def test_what_came_during_the_last_bundle_is_the_next_one():
    taken, given = asyncio.Event(), asyncio.Event()

    async def inputs():
        yield 0
        await taken.wait()
        yield 1
        yield 2
        given.set()

    found = []
    async for bundle in gathered(inputs(), 4):
        found.append(bundle)
        taken.set()
        await given.wait()
    assert found == [[0], [1, 2]]


async def test_inputs_are_read_no_further_ahead_than_a_bundle():
    read = 0

    async def inputs():
        nonlocal read
        while True:
            read += 1
            yield read

    async with aclosing(gathered(inputs(), 4)) as found:
        assert await anext(found) == [1, 2, 3, 4]
        for _ in range(100):
            await asyncio.sleep(0)
        assert read <= 8


async def test_what_the_inputs_raise_comes_behind_the_inputs_before_it():
    async def inputs():
        yield 0
        raise KeyError("no more")

    found = gathered(inputs(), 4)
    assert await anext(found) == [0]
    with pytest.raises(KeyError, match="no more"):
        await anext(found)


@pytest.mark.parametrize("by", ["close", "cancellation"])
async def test_ended_early_it_ends_the_inputs(by):
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def inputs():
        try:
            yield 0
            waiting.set()
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    async def take():
        async with aclosing(gathered(inputs(), 4)) as found:
            async for _ in found:
                await waiting.wait()
                if by == "close":
                    return

    taking = asyncio.create_task(take())
    await waiting.wait()
    if by == "cancellation":
        await asyncio.sleep(0)
        taking.cancel()
    await asyncio.wait([taking])
    assert ended.is_set()
    assert taking.cancelled() == (by == "cancellation")
