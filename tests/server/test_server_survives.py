"""Replicas and servers that are killed under load: what was asked is answered, what was configured is back."""

import os
import signal
import sys
import threading
import time

import cloudpickle
import httpx
import pytest
from server_process import Callers, ServerProcess, replica_processes, until

import clipper

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def up(tmp_path):
    """Start servers on the test's data directory. Afterwards none of them is left, and none of their replicas."""
    started = []

    def start(**environment):
        started.append(ServerProcess(tmp_path / "data", **environment))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
    left = replica_processes(tmp_path / "data")
    for pids in left.values():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert left == {}


def doubled(batch):
    import time  # noqa: PLC0415  # travels with the function

    time.sleep(0.002)
    return 2 * batch[:, 0]


def tripled(batch):
    return 3 * batch[:, 0]


def serve(server, *, replicas=1, slo_ms=2000, predict=doubled, **deploy):
    server.cl.deploy_model("model", 1, predict, input_type="doubles", num_replicas=replicas, **deploy)
    server.cl.register_application("app", input_type="doubles", slo_ms=slo_ms, models=["model"])


def killed_and_back(server, replica_id):
    """Kill a replica with -9; its entry in the registry once another process is ready in its place."""
    pid = server.replicas("model")[replica_id]["pid"]
    os.kill(pid, signal.SIGKILL)
    return until(lambda: taken_over(server, replica_id, pid), "the replica is back")


def taken_over(server, replica_id, pid):
    replica = server.replicas("model").get(replica_id)
    return replica if replica is not None and replica["pid"] != pid else None


def assert_right(answers, factor):
    wrong = [(x, body) for x, status, body in answers if status == 200 and body["output"] != factor * x]
    assert wrong == []


def test_a_killed_replica_costs_nobody_an_answer_where_there_is_another_one(up):
    server = up()
    serve(server, replicas=2)
    with Callers(server.query, "app") as callers:
        callers.go_on()
        for kills, replica_id in enumerate(sorted(server.replicas("model")) * 2):
            back = killed_and_back(server, replica_id)
            assert back["restarts"] == 1 + kills // 2
            assert back["reason"].startswith("killed by signal 9")
            callers.go_on()
    assert callers.outcomes().keys() == {(200, None)}
    assert callers.unanswered == {}
    assert_right(callers.answers, 2)
    assert server.cl.get_model_info("model", 1)["restarts"] == 4


def test_the_only_replica_killed_is_back_and_meanwhile_every_query_is_answered_in_time_with_the_reason(up):
    server = up()
    serve(server, slo_ms=200)
    with Callers(server.query, "app") as callers:
        for _ in range(2):
            callers.go_on()
            back = killed_and_back(server, "model.1.g1.r0")
            assert "killed by signal 9" in back["reason"]
            callers.answered_again()
    assert callers.unanswered == {}
    assert_right(callers.answers, 2)
    reasons = {"model_error", "no_model_ready", "deadline_exceeded", "overloaded"}
    assert {code for status, code in callers.outcomes() if status != 200} <= reasons
    assert all("model" in body["error"] for _, status, body in callers.answers if status != 200)


def hangs_on_negatives(batch):
    import time  # noqa: PLC0415  # travels with the function

    if batch[0, 0] < 0:
        time.sleep(1000)
    return 2 * batch[:, 0]


def test_a_replica_that_hangs_for_longer_than_its_limit_is_replaced_and_the_reason_says_so(up):
    server = up()
    serve(server, predict=hangs_on_negatives, slo_ms=300, limits={"hang_timeout_s": 0.5})
    hung = server.replicas("model")["model.1.g1.r0"]["pid"]
    status = httpx.post(f"{server.query}/app/predict", json={"input": [-1.0]}).status_code
    assert status == 504
    replaced = until(lambda: taken_over(server, "model.1.g1.r0", hung), "it is replaced")
    assert "hang_timeout_s is 0.5" in replaced["reason"]
    until(lambda: httpx.post(f"{server.query}/app/predict", json={"input": [4.0]}).json().get("output") == 8.0)


def test_a_killed_server_comes_back_with_everything_and_takes_over_its_replicas(up):
    server = up()
    serve(server, replicas=2)
    server.cl.deploy_model("model", 2, tripled, input_type="doubles")
    server.cl.deploy_model("other", 1, doubled, input_type="doubles", promote=False)
    before = server.processes()
    with Callers(server.query, "app") as callers:
        callers.go_on()
        server.cl.register_application("late", input_type="doubles", slo_ms=500)
        server.cl.link_model_to_app("late", "model")
        server.kill()
    assert_right(callers.answers, 3)
    assert callers.outcomes().keys() == {(200, None)}
    assert server.processes() == before
    os.kill(before["model.1.g1.r1"][0], signal.SIGKILL)

    server = up()
    assert sorted(server.cl.get_all_apps()) == ["app", "late"]
    assert sorted(server.cl.get_all_models()) == ["model", "other"]
    assert server.cl.get_current_model_version("model") == "2"
    assert server.cl.get_linked_models("late") == ["model"]
    for app in ("app", "late"):
        assert httpx.post(f"{server.query}/{app}/predict", json={"input": [4.0]}).json()["output"] == 12.0
    until(lambda: taken_over(server, "model.1.g1.r1", *before["model.1.g1.r1"]), "the one that died is back")
    after = server.processes()
    assert {name for name in before if before[name] != after[name]} == {"model.1.g1.r1"}
    assert [len(pids) for pids in after.values()] == [1] * len(before)
    server.cl.set_model_version("model", 1)
    until(lambda: server.cl.get_current_model_version("model") == "1")
    assert httpx.post(f"{server.query}/app/predict", json={"input": [5.0]}).json()["output"] == 10.0


def test_what_was_acknowledged_before_the_server_was_killed_is_there_afterwards(up):
    server, acknowledged = up(), []

    def register():
        while True:
            name = f"app-{len(acknowledged)}"
            try:
                server.cl.register_application(name, input_type="doubles", slo_ms=20)
            except clipper.ClipperError:
                return
            acknowledged.append(name)

    thread = threading.Thread(target=register)
    thread.start()
    until(lambda: len(acknowledged) >= 20)
    server.signal(signal.SIGKILL)
    thread.join()
    server.wait()
    assert set(up().cl.get_all_apps()) - {f"app-{len(acknowledged)}"} == set(acknowledged)


def test_a_server_that_is_asked_to_stop_says_so_first_and_answers_what_it_accepted(up):
    server = up(CLIPPER_DRAIN_DELAY_S="0.3")
    serve(server, replicas=2)
    with Callers(server.query, "app") as callers:
        callers.go_on()
        with httpx.Client() as probe:
            assert probe.get(f"{server.query}/v2/health/ready").status_code == 200
            server.signal(signal.SIGTERM)
            until(lambda: probe.get(f"{server.query}/v2/health/ready").status_code == 503, "not ready any more")
            callers.go_on(10)
        assert server.wait() == 0
    assert callers.outcomes().keys() == {(200, None)}
    assert callers.unanswered == {}
    assert_right(callers.answers, 2)
    assert server.processes() == {}


def test_a_server_ends_within_its_grace_and_tells_whom_it_cannot_answer_any_more(up):
    server = up(CLIPPER_SHUTDOWN_GRACE_S="2")
    serve(server, predict=hangs_on_negatives, slo_ms=60_000)
    replies = []

    def ask():
        replies.append(httpx.post(f"{server.query}/app/predict", json={"input": [-1.0]}, timeout=30))

    caller = threading.Thread(target=ask)
    caller.start()
    until(lambda: "clipper_live_queries 1" in httpx.get(f"{server.query}/metrics").text, "the query is under way")
    started_s = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - started_s < 20, "not when the query's own minute is over"
    caller.join()
    (reply,) = replies
    assert (reply.status_code, reply.json()["code"]) == (503, "no_model_ready")
    assert reply.json()["error"] == "The server is shutting down."


def test_a_second_signal_forces_the_end_and_the_next_server_takes_over(up):
    server = up(CLIPPER_DRAIN_DELAY_S="60")
    serve(server)
    before = server.processes()
    server.signal(signal.SIGTERM)
    until(lambda: httpx.get(f"{server.query}/v2/health/ready").status_code == 503)
    server.signal(signal.SIGTERM)
    assert server.wait() != 0
    server = up()
    assert httpx.post(f"{server.query}/app/predict", json={"input": [4.0]}).json()["output"] == 8.0
    assert server.processes() == before
