"""Feedback through a real server: it counts once, whatever happens to the server, and whichever frontend it meets."""

import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import httpx
import msgspec
import pytest
from server_process import ServerProcess, until

import clipper
from clipper.evidence import Evidence
from clipper.feedback import FeedbackRecord

MODELS = [f"right-on-{n}" for n in range(5)]


def right_on(number):
    """Right (the label is 1) on inputs whose first number is ``number`` or less, modulo 5."""
    return lambda batch: [int(row[0] % 5 <= number) for row in batch]


def deploy(cl: clipper.Connection) -> None:
    for number, model in enumerate(MODELS):
        cl.deploy_model(model, 1, right_on(number), input_type="doubles", wait=False)
    for model in MODELS:
        cl.wait_for_version(model, 1)


def register(cl: clipper.Connection, name: str, policy="exp3", **fields) -> None:
    cl.register_application(name, input_type="doubles", slo_ms=5000, policy=policy, models=MODELS, **fields)


def recomputed(cl: clipper.Connection, app: str) -> Evidence:
    """The evidence of all, from the log alone."""
    records = [msgspec.convert(record, FeedbackRecord) for record in cl.read_feedback(app)]
    again = Evidence()
    for record in records:
        again.add(record.change, record.half_life_feedbacks)
    return again


def assert_weights_are_those_of_the_log(cl: clipper.Connection, app: str, feedbacks: int) -> None:
    selection = cl.get_selection(app)
    again = recomputed(cl, app)
    assert selection["feedbacks"] == again.n == feedbacks
    state = again.present()
    for choice in selection["models"]:
        assert choice["sums"] == pytest.approx(state.get(choice["arm"], {}), rel=1e-9)


@pytest.fixture(scope="module")
def models(cl) -> list[str]:
    deploy(cl)
    return MODELS


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("policy", ["exp3", "exp4"])
def test_feedback_changes_what_is_served(cl, policy):
    app = f"shift-{policy}"
    register(cl, app, policy, default_output=-1)
    for i in range(200):
        answer = cl.predict(app, [float(i)])
        cl.update(app, query_id=answer.query_id, label=1)
    weights = {choice["model"]: choice["weight"] for choice in cl.get_selection(app)["models"]}
    assert max(weights, key=weights.__getitem__) == "right-on-4"
    answers = [cl.predict(app, [float(i)]) for i in range(1000, 1100)]
    assert sum(answer.output == 1 for answer in answers) > 70
    if policy == "exp4":
        assert all(len(answer.models) == 5 and answer.missing == () for answer in answers)
    measured = next(one["measured"] for one in cl.get_status()["applications"] if one["name"] == app)
    assert measured["feedback"] == {"accepted": 200}
    assert 0 < measured["mean_loss"] < 1
    assert cl.get_model_info("right-on-4", 1)["measured"]["mean_loss"] == 0.0
    assert_weights_are_those_of_the_log(cl, app, 200)


@pytest.mark.usefixtures("models")
def test_concurrent_clients_and_repeats_count_once_each(cl):
    register(cl, "crowd")
    outcomes: list[int] = []

    def give(first: int) -> None:
        with httpx.Client(base_url=cl.session.query_url, timeout=30) as client:
            for i in range(first, first + 15):
                query_id = client.post("/crowd/predict", json={"input": [i], "uid": f"u{i % 3}"}).json()["query_id"]
                told = partial(client.post, "/crowd/update", json={"query_id": query_id, "label": i % 2})
                with ThreadPoolExecutor(3) as repeats:
                    replies = [repeats.submit(told) for _ in range(3)]
                outcomes.extend(reply.result().status_code for reply in replies)

    with ThreadPoolExecutor(6) as clients:
        list(clients.map(give, range(0, 600, 100)))
    assert (outcomes.count(200), outcomes.count(409)) == (90, 180)
    assert_weights_are_those_of_the_log(cl, "crowd", 90)


@pytest.mark.usefixtures("models")
def test_pipelined_feedback_and_predictions_are_answered_in_order(cl):
    register(cl, "mixed")
    with httpx.Client(base_url=cl.session.query_url, timeout=30) as client:
        for i in range(20):
            query_id = client.post("/mixed/predict", json={"input": [i]}).json()["query_id"]
            reply = client.post("/mixed/update", json={"updates": [{"query_id": query_id, "label": 1}, {"label": 1}]})
            assert (reply.json()["accepted"], reply.json()["rejected"][0]["index"]) == (1, 1)
    assert_weights_are_those_of_the_log(cl, "mixed", 20)


def test_feedback_counts_after_a_restart_and_after_a_kill(tmp_path):
    server = ServerProcess(tmp_path)
    deploy(server.cl)
    register(server.cl, "kept")
    waiting = [server.cl.predict("kept", [float(i)]).query_id for i in range(30)]
    for query_id in waiting[:10]:
        server.cl.update("kept", query_id=query_id, label=1)
    server.kill()
    server = ServerProcess(tmp_path)
    for query_id in waiting[10:20]:
        server.cl.update("kept", query_id=query_id, label=1)
    for query_id in waiting[:20]:
        with pytest.raises(clipper.DuplicateFeedback):
            server.cl.update("kept", query_id=query_id, label=1)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    server = ServerProcess(tmp_path)
    result = server.cl.update_many("kept", [{"query_id": query_id, "label": 1} for query_id in waiting])
    assert result.accepted == 10
    assert_weights_are_those_of_the_log(server.cl, "kept", 30)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_what_was_acknowledged_when_the_server_is_killed_is_there_afterwards(tmp_path):
    server = ServerProcess(tmp_path)
    deploy(server.cl)
    register(server.cl, "killed")
    acknowledged: set[str] = set()
    unsure: set[str] = set()

    def give(number: int) -> None:
        with httpx.Client(base_url=server.query, timeout=10) as client:
            try:
                for i in range(10_000):
                    body = {"input": [i], "label": 1, "update_id": f"{number}-{i}"}
                    unsure.add(body["update_id"])
                    if client.post("/killed/update", json=body).status_code == 200:
                        acknowledged.add(body["update_id"])
                        unsure.discard(body["update_id"])
            except httpx.TransportError:
                return

    threads = [threading.Thread(target=give, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) >= 100, "feedback under way")
    server.kill()
    for thread in threads:
        thread.join()
    server = ServerProcess(tmp_path)
    counted = server.cl.get_selection("killed")["feedbacks"]
    assert len(acknowledged) <= counted <= len(acknowledged) + len(unsure)
    again = [{"input": [0.0], "label": 1, "update_id": name} for name in sorted(acknowledged)]
    assert server.cl.update_many("killed", again).accepted == 0
    assert_weights_are_those_of_the_log(server.cl, "killed", counted)
    server.kill()


def test_feedback_meets_another_frontend_than_its_query_and_all_follow(tmp_path):
    server = ServerProcess(tmp_path, CLIPPER_FRONTENDS="2")
    deploy(server.cl)
    register(server.cl, "spread")
    # The kernel gives each connection to one of the frontends.
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=server.query, timeout=30)) for _ in range(8)]
        for i in range(100):
            one, other = random.sample(clients, 2)
            query_id = one.post("/spread/predict", json={"input": [i]}).json()["query_id"]
            reply = other.post("/spread/update", json={"query_id": query_id, "label": 1})
            assert reply.status_code == 200, reply.text
            assert one.post("/spread/update", json={"query_id": query_id, "label": 1}).status_code == 409
    assert_weights_are_those_of_the_log(server.cl, "spread", 100)

    def all_follow() -> bool:
        shown = []
        for _ in range(16):
            body = httpx.post(f"{server.query}/spread/predict", json={"input": [1], "explain": True}).json()
            shown.append(body["explanation"]["weights"])
        return all(weights == pytest.approx(shown[0]) and weights["right-on-4"] > 0.25 for weights in shown)

    until(all_follow, "the same weights in all frontends")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
