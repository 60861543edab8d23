"""A query resolves exactly once, whenever its caller leaves."""

import asyncio

import pytest
from abstraction_fakes import item_error
from engine_bench import choosing, served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipper.domain import Query

STAGES = ["queued", "batching", "executing", "answering", "stay"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_cancelling_at_any_stage_harms_nobody_and_leaves_nothing(data):
    bench = served(run_s=None, slo_ms=1000)
    link = bench.links["m.1.g1.r0"]
    asked, gone = [], []
    for round_number in range(data.draw(st.integers(1, 4))):
        stages = data.draw(st.lists(st.sampled_from(STAGES), min_size=1, max_size=60))
        newcomers = []
        for i, stage in enumerate(stages):
            row = b"%d/%d" % (round_number, i if data.draw(st.booleans()) else i // 3)
            one = bench.ask(row)
            newcomers.append((stage, one))
            if stage == "queued":
                _leave(bench, one, gone)
        _cancel_at(bench, "batching", newcomers, gone)
        bench.timers.turn()
        _cancel_at(bench, "executing", newcomers, gone)
        leavers = [one for stage, one in newcomers if stage == "answering"]
        for one in leavers:
            one.answers = _Leaves(bench, leavers, gone)
        while link.waiting:
            link.reply()
            bench.timers.turn()
        bench.timers.advance(0.002)
        while link.waiting:
            link.reply()
            bench.timers.advance(0.002)
        asked += [one for stage, one in newcomers if stage == "stay"]
    bench.timers.advance(2)
    for one in asked:
        assert one.answer.output is not None or one.answer.error is not None
    assert all(one.ticket.resolved for one in (*asked, *gone))
    bench.assert_idle()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_an_ensemble_answers_or_is_cancelled_once_whatever_its_members_do(data):
    """Members answer, raise, hang, come late, drain or die, in any order, while callers leave at any moment."""
    models = "abc"
    bench = choosing("exp4", models, run_s=None, slo_ms=100)
    asked, gone = [], []
    for _ in range(data.draw(st.integers(1, 25))):
        happens = data.draw(st.sampled_from(["ask", "ask", "leave", "reply", "raise", "lose", "return", "later"]))
        link = bench.link(data.draw(st.sampled_from(models)))
        staying = [one for one in asked if not one.answers and one not in gone]
        if happens == "ask":
            asked.append(bench.ask(b"%d" % data.draw(st.integers(0, 5))))
        elif happens == "leave" and staying:
            _leave(bench, data.draw(st.sampled_from(staying)), gone)
        elif happens in {"reply", "raise"} and link.waiting:
            link.answer = (lambda _row: b"1") if happens == "reply" else (lambda _row: item_error())
            link.reply()
        elif happens == "lose" and link.ready:
            link.lose()
        elif happens == "return" and not link.ready:
            link.connect()
        bench.timers.advance(data.draw(st.sampled_from([0, 0.001, 0.03])) if happens == "later" else 0)
    bench.timers.advance(0.1)
    for one in asked:
        assert len(one.answers) == (one not in gone)
        assert one.ticket.resolved
    for link in bench.links.values():
        while link.waiting:
            link.reply()
            bench.timers.advance(0)
    bench.timers.advance(60)
    assert all(len(one.answers) == (one not in gone) for one in asked)
    bench.assert_idle()


def _cancel_at(bench, stage, newcomers, gone):
    for at, one in newcomers:
        if at == stage:
            _leave(bench, one, gone)


def _leave(bench, one, gone):
    had = list(one.answers)
    bench.engine.cancel(one.ticket)
    assert one.answers == had
    gone.append(one)


class _Leaves(list):
    """The answer of one caller makes all others of the same batch leave, in the middle of the batch's answering."""

    def __init__(self, bench, leavers, gone):
        super().__init__()
        self._bench, self._leavers, self._gone = bench, leavers, gone

    def append(self, answer):
        super().append(answer)
        for other in self._leavers:
            if not other.answers:
                self._bench.engine.cancel(other.ticket)
                self._gone.append(other)
        assert len(self) == 1


def test_an_answer_in_the_turn_in_which_the_awaiting_task_is_cancelled_is_dropped_in_silence(caplog):
    async def scenario():
        bench = served(run_s=None)
        task = asyncio.ensure_future(bench.engine.predict(Query("app", b"x", bench.timers.now())))
        await asyncio.sleep(0)
        bench.timers.turn()
        task.cancel()
        bench.links["m.1.g1.r0"].reply()
        with pytest.raises(asyncio.CancelledError):
            await task
        bench.assert_idle()

    asyncio.run(scenario())
    assert caplog.records == []
