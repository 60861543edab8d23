"""Whole runs: processes of the generator against a server that does as it is told."""

import asyncio

import pytest
from tiny_server import ANSWER, tiny_server

from clipper.errors import InvalidInput, Unreachable
from clipper.loadgen import InputSource, Plan, Summary, Target, run

FLOATS = InputSource(input_type="doubles", width=3)


def plan(**changes):
    fields = {"duration_s": 1.0, "rate_qps": 200.0, "connections": 300, "timeout_s": 5.0, "slo_s": 0.1, "seed": 3}
    return Plan(**(fields | changes))


async def measured(server, the_plan, inputs=FLOATS, on_measured=lambda _: None, stop=None):
    summary = Summary(the_plan)

    def take(part):
        summary.add(part)
        on_measured(part)

    await run(the_plan, Target("127.0.0.1", server.port, "app"), inputs, take, stop or asyncio.Event())
    return summary


def at_request(number, *actions):
    """A reply function that does something when a request comes."""

    def reply(index):
        if index == number:
            for action in actions:
                action()
        return ANSWER

    return reply


STALL_S = 0.6


async def stalling(the_plan):
    """A run against a server that answers nothing for a while, and everything at once, otherwise."""
    loop = asyncio.get_running_loop()
    async with tiny_server() as server:
        server.reply = at_request(20, server.stall, lambda: loop.call_later(STALL_S, server.resume))
        return await measured(server, the_plan)


async def test_a_stall_shows_in_the_percentiles_of_an_open_loop():
    """Coordinated omission: those who would have come during the stall count, too, from when they would have come.

    The bounds are one-sided: a machine that stalls as well only adds to what the server did.
    """
    summary = await stalling(plan(duration_s=1.2, arrivals="uniform"))
    answered = summary.latencies["answered"]
    assert summary.due == answered.count == pytest.approx(240, abs=1)
    assert answered.share_above(STALL_S / 4) >= 0.33  # 90 of 240 waited for the rest of the stall
    assert answered.quantile_s(0.9) >= 0.4
    assert answered.max_s >= STALL_S * 0.98
    assert summary.on_time["answered"] <= 145


async def test_the_same_stall_is_one_slow_query_to_a_closed_loop():
    summary = await stalling(plan(duration_s=1.2, rate_qps=None, connections=1))
    answered = summary.latencies["answered"]
    assert answered.max_s >= STALL_S * 0.98
    assert answered.count > 100
    assert answered.share_above(STALL_S / 4) < 0.05


async def test_queries_that_find_every_connection_taken_wait_and_the_wait_is_part_of_their_latency():
    loop = asyncio.get_running_loop()
    async with tiny_server() as server:
        server.reply = at_request(0, server.stall, lambda: loop.call_later(0.5, server.resume))
        summary = await measured(server, plan(connections=4, arrivals="uniform"))
        assert server.most_connections == 4
    assert summary.count("answered") == summary.due
    assert summary.waits.count >= 86
    assert summary.latencies["answered"].share_above(0.2) >= 0.25
    assert "waited for one of the 4 connections" in (summary.limit() or "")


async def test_three_processes_send_together_what_one_sends_and_every_query_once():
    asked = []
    for processes in (1, 3):
        async with tiny_server() as server:
            summary = await measured(server, plan(processes=processes, duration_s=0.5))
            assert summary.due == summary.count("answered") == len(server.bodies)
            asked.append(sorted(body["input"][0] for body in server.bodies))
    assert asked[0] == asked[1]
    assert len(set(asked[0])) == len(asked[0])


async def test_defaults_and_errors_are_counted_by_their_reason():
    replies = [
        ANSWER,
        (200, {"output": 0, "default": True, "default_explanation": "deadline_exceeded: 20 ms were over."}),
        (429, {"code": "overloaded", "error": "The queue is full."}),
        (200, {"output": 0, "default": True, "default_explanation": "no_model_ready: None."}),
        (503, {"detail": "a proxy's"}),
    ]
    async with tiny_server(lambda index: replies[index % len(replies)]) as server:
        summary = await measured(server, plan(arrivals="uniform", rate_qps=202.0, duration_s=0.5))
    assert summary.due == 100
    assert summary.of("answered") == {"": 20}
    assert summary.of("default") == {"deadline_exceeded": 20, "no_model_ready": 20}
    assert summary.of("error") == {"overloaded": 20, "http_503": 20}
    assert 0 < summary.goodput_qps <= summary.per_s(20)


async def test_a_server_that_dies_in_the_middle_costs_its_queries_and_not_the_run():
    async with tiny_server() as server:
        server.reply = at_request(50, server.die)
        summary = await measured(server, plan(arrivals="uniform", rate_qps=202.0, duration_s=0.5))
    assert summary.count("answered") == 50
    assert summary.due == 100 == summary.count("answered") + summary.count("lost")
    assert summary.of("lost")["connection_refused"] >= 45
    assert summary.of("lost")["connection_closed"] >= 1


async def test_a_query_without_an_answer_is_given_up_when_its_caller_would():
    async with tiny_server(lambda index: None if index == 5 else ANSWER) as server:
        summary = await measured(server, plan(duration_s=0.3, timeout_s=0.2))
    assert summary.of("lost") == {"timeout": 1}
    assert summary.count("answered") == summary.due - 1


@pytest.mark.parametrize("rate_qps", [200.0, None])
async def test_stopped_early_it_says_what_it_has_measured(rate_qps):
    async with tiny_server() as server:
        stop = asyncio.Event()
        the_plan = plan(duration_s=600.0, rate_qps=rate_qps, connections=2)
        summary = await measured(server, the_plan, on_measured=lambda _: stop.set(), stop=stop)
    assert summary.count("answered") >= 10
    assert summary.due == sum(summary.counts.values())
    assert summary.elapsed_s < 10


async def test_a_cancelled_run_leaves_no_process_and_no_connection():
    async with tiny_server() as server:
        seen = asyncio.Event()
        running = asyncio.ensure_future(measured(server, plan(duration_s=600.0), on_measured=lambda _: seen.set()))
        await seen.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await server.nobody.wait()


async def test_without_a_server_there_is_a_sentence_and_no_run():
    async with tiny_server() as server:
        port = server.port
    with pytest.raises(Unreachable, match=rf"Cannot reach http://127.0.0.1:{port}: connection refused"):
        await measured(server, plan())


async def test_inputs_come_from_a_file_in_its_order(tmp_path):
    (tmp_path / "inputs.jsonl").write_text('[1, 2]\n\n{"input": [3, 4]}\n"text"\n')
    source = InputSource(input_type="doubles", file=str(tmp_path / "inputs.jsonl"))
    async with tiny_server() as server:
        await measured(server, plan(arrivals="uniform", rate_qps=82.0, duration_s=0.5, connections=1), source)
        inputs = [body["input"] for body in server.bodies]
    assert inputs == [[1, 2], [3, 4], "text"] * 13 + [[1, 2]]


async def test_inputs_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "inputs.jsonl").write_text("[1]\nx\n")
    source = InputSource(input_type="doubles", file=str(tmp_path / "inputs.jsonl"))
    async with tiny_server() as server:
        with pytest.raises(InvalidInput, match=r"inputs.jsonl', line 2, must be JSON"):
            await measured(server, plan(), source)


async def test_distinct_inputs_come_again_in_turn():
    source = InputSource(input_type="doubles", width=2, distinct=4)
    async with tiny_server() as server:
        await measured(server, plan(arrivals="uniform", rate_qps=82.0, duration_s=0.5, connections=1), source)
        inputs = [tuple(body["input"]) for body in server.bodies]
    assert len(inputs) == 40
    assert len(set(inputs)) == 4
    assert inputs == inputs[:4] * 10
