"""Calls of a flood are held for a moment, and no other ones; whoever leaves harms nobody."""

import asyncio

import pytest

from clipper_frontends.grpc.gathering import WINDOW_S, Gathering


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


async def flood(gathering, count, slo_s=1.0):
    """Calls that come at one time; the first two do not know of a flood yet."""
    calls = [asyncio.ensure_future(gathering.join(slo_s)) for _ in range(count)]
    await asyncio.sleep(0)
    return calls


async def test_calls_that_come_by_themselves_are_not_held(clock):
    gathering = Gathering(clock)
    for _ in range(5):
        async with asyncio.timeout(0):
            await gathering.join(1.0)
        clock.now_s += 0.6 * WINDOW_S


async def test_calls_of_a_flood_go_on_together(clock):
    gathering = Gathering(clock)
    calls = await flood(gathering, 10)
    assert [call.done() for call in calls] == [True] * 2 + [False] * 8
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    await calls[2]
    await asyncio.sleep(0)
    assert all(call.done() for call in calls)


async def test_a_call_that_is_given_up_lets_the_others_be(clock):
    gathering = Gathering(clock)
    calls = await flood(gathering, 5)
    calls[3].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [call.cancelled() for call in calls] == [False, False, False, True, False]


async def test_when_the_flood_is_over_nobody_is_held(clock):
    gathering = Gathering(clock)
    await asyncio.gather(*await flood(gathering, 5))
    clock.now_s += 2 * WINDOW_S
    async with asyncio.timeout(0):
        await gathering.join(1.0)


async def test_a_tight_slo_is_not_spent_on_waiting(clock):
    gathering = Gathering(clock)
    loop = asyncio.get_running_loop()
    delays = []
    later = loop.call_later
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "call_later", lambda delay_s, *rest: delays.append(delay_s) or later(delay_s, *rest))
        await asyncio.gather(*await flood(gathering, 3, slo_s=0.002))
    assert delays == [pytest.approx(0.0001)]
