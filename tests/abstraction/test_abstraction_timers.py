import asyncio
import math

import pytest
import uvloop
from abstraction_fakes import VirtualTimers

from clipper.abstraction.timers import TICK_S, Alarm, LoopTimers


def test_an_alarm_rings_once_at_the_earliest_time_it_was_given():
    timers, rung = VirtualTimers(), []
    alarm = Alarm(timers, lambda: rung.append(timers.now()))
    for when_s in (103.0, 101.0, 102.0):
        alarm.at_latest(when_s)
    assert timers.pending == 1
    timers.advance(10)
    assert rung == [101.0]
    assert not alarm.armed
    assert alarm.due_s == math.inf


def test_a_cancelled_alarm_does_not_ring_and_can_be_set_again():
    timers, rung = VirtualTimers(), []
    alarm = Alarm(timers, lambda: rung.append(timers.now()))
    alarm.at_latest(101.0)
    alarm.cancel()
    assert timers.pending == 0
    alarm.at_latest(105.0)
    timers.advance(10)
    assert rung == [105.0]


def test_an_alarm_for_never_sets_no_timer():
    timers = VirtualTimers()
    Alarm(timers, lambda: None).at_latest(math.inf)
    assert timers.pending == 0


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_loop_timers_are_less_than_a_tick_early(new_loop):
    loop = new_loop()
    try:
        timers = LoopTimers(loop)
        early = []
        done = loop.create_future()

        def rings(when_s, last):
            early.append(timers.now() < when_s - TICK_S)
            if last:
                done.set_result(None)

        start_s = timers.now()
        for i in range(20):
            when_s = start_s + 0.0013 * i
            timers.call_at(when_s, rings, when_s, i == 19)
        loop.run_until_complete(done)
    finally:
        loop.close()
    assert not any(early)
