"""``clipper up --frontends 3``: one address, three processes that answer, and one view of them."""

import os
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import cloudpickle
import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from server_process import Callers, ServerProcess, replica_processes, until

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

WORKER = "clipper.server.worker"
REFUSED = 'clipper_http_refused_total{code="invalid_json"} 3.0'
COUNTERS = ("_total", "_count", "_sum", "_bucket")


@pytest.fixture
def up(tmp_path):
    """A server of three frontends on the test's data directory; afterwards no process of it is left."""
    started = []

    def start(**environment):
        server = ServerProcess(tmp_path / "data", CLIPPER_FRONTENDS="3", **environment)
        started.append((server, workers(server)))
        return server

    yield start
    for server, first_workers in started:
        left = [*first_workers, *workers(server)]
        if server.process.poll() is None:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        until(lambda left=left: not any(worker.is_running() for worker in left), "no worker is left")
    for pids in replica_processes(tmp_path / "data").values():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def workers(server) -> list[psutil.Process]:
    try:
        children = psutil.Process(server.process.pid).children()
        return [child for child in children if WORKER in child.cmdline()]
    except psutil.Error:
        return []


def doubled(batch):
    import time  # noqa: PLC0415  # travels with the function

    time.sleep(0.001)
    return 2 * batch[:, 0]


def tripled(batch):
    return 3 * batch[:, 0]


def serve(server, predict=doubled, **deploy):
    server.cl.deploy_model("model", 1, predict, input_type="doubles", num_replicas=1, **deploy)
    server.cl.register_application("app", input_type="doubles", slo_ms=2000, models=["model"])


class Everybody:
    """A connection to each frontend: ``clients`` by pid."""

    def __init__(self, server):
        self._server = server
        self._stack = ExitStack()
        self.clients: dict[int, httpx.Client] = {}

    def __enter__(self):
        until(lambda: self._connect() and len(self.clients) == 3, "all three frontends answer")
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _connect(self) -> bool:
        client = httpx.Client(base_url=self._server.query, timeout=10)
        stream = client.get("/livez").extensions["network_stream"]
        port = stream.get_extra_info("client_addr")[1]
        here = {self._server.process.pid, *(worker.pid for worker in workers(self._server))}
        open_here = [one for one in psutil.net_connections("tcp") if one.pid in here and one.raddr]
        pid = next(one.pid for one in open_here if one.raddr.port == port)
        if pid in self.clients:
            client.close()
        else:
            self.clients[pid] = client
            self._stack.callback(client.close)
        return True


def counters(text: str) -> dict[tuple, float]:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.endswith(COUNTERS) and sample.name.startswith("clipper_")
    }


def answered(text: str) -> float:
    return sum(value for key, value in counters(text).items() if key[0] == "clipper_queries_total")


def total(status: dict) -> dict[str, int]:
    return status["applications"][0]["measured"]["total"]


def test_every_frontend_answers_and_every_one_gives_the_metrics_of_all(up):
    server = up()
    serve(server)
    with Everybody(server) as all_three:
        assert server.process.pid in all_three.clients
        for sent, client in enumerate(all_three.clients.values(), 1):
            assert client.get("/readyz").status_code == 200
            for x in range(10 * sent):
                reply = client.post("/app/predict", json={"input": [float(x)]})
                assert reply.json()["output"] == 2.0 * x
            assert client.post("/app/predict", content=b"{").status_code == 400
        for client in all_three.clients.values():
            until(lambda client=client: answered(client.get("/metrics").text) == 60, "everything is counted")
            until(lambda client=client: REFUSED in client.get("/metrics").text, REFUSED)
            text = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}).text
            assert text.endswith("# EOF\n")
            assert answered(text) == 60
        server.signal(signal.SIGSTOP)
        further = next(client for pid, client in all_three.clients.items() if pid != server.process.pid)
        replies = further.get("/metrics"), further.post("/app/predict", json={"input": [1.0]})
        server.signal(signal.SIGCONT)
        assert [reply.status_code for reply in replies] == [503, 200]
        assert replies[0].json()["code"] == "unavailable"
    status = until(lambda: total(server.cl.get_status()) == {"answered": 61} and server.cl.get_status())
    assert status["ready"]
    assert status["models"][0]["versions"][0]["measured"]["queries"] == 61


def test_what_was_changed_is_in_effect_at_every_frontend_when_the_answer_comes(up):
    server = up()
    serve(server)
    server.cl.deploy_model("model", 2, tripled, input_type="doubles", promote=False)
    with Everybody(server) as all_three, Callers(server.query, "app", count=6) as callers:

        def outputs(app: str) -> set[float | str]:
            replies = [c.post(f"/{app}/predict", json={"input": [1.0]}).json() for c in all_three.clients.values()]
            return {reply.get("output", reply.get("code")) for reply in replies}

        for version, factor in ((2, 3.0), (1, 2.0), (2, 3.0)):
            callers.go_on(50)
            server.cl.set_model_version("model", version)
            until(lambda version=version: server.cl.get_current_model_version("model") == str(version), "current")
            assert outputs("app") == {factor}
        for _ in range(3):
            server.cl.register_application("late", input_type="doubles", slo_ms=2000, models=["model"])
            assert outputs("late") == {3.0}
            server.cl.unlink_model_from_app("late", "model")
            assert outputs("late") == {"no_model_ready"}
            server.cl.unregister_application("late")
            assert outputs("late") == {"unknown_application"}
    assert callers.unanswered == {}
    assert callers.outcomes().keys() == {(200, None)}
    assert {body["output"] / x for x, _, body in callers.answers if x} == {2.0, 3.0}


def test_a_killed_frontend_comes_back_the_others_go_on_and_no_counter_goes_back(up):
    server = up()
    serve(server)
    victim = workers(server)[0]
    with scraping(server) as scrapes, Callers(server.query, "app", count=16) as callers:
        callers.go_on()
        until(lambda: scrapes and answered_in(scrapes[-1]) > 100, "some are counted")
        victim.kill()
        callers.go_on()
        until(lambda: len(workers(server)) == 2 and victim not in workers(server), "it is started again")
        with Everybody(server) as all_three:
            before = len(callers.answers)
            replies = [c.post("/app/predict", json={"input": [-1.0]}).json() for c in all_three.clients.values()]
            assert [reply["output"] for reply in replies] == [-2.0] * 3
            callers.go_on()
            assert len(callers.answers) > before
        seen = len(scrapes)
        until(lambda: len(scrapes) > seen + 5, "more scrapes")
    assert callers.outcomes().keys() == {(200, None)}
    assert callers.unanswered.total() < 16
    for earlier, later in pairwise(scrapes):
        assert {key: value for key, value in earlier.items() if later.get(key, 0.0) < value} == {}


@contextmanager
def scraping(server):
    """The counters of one scrape after the other, each over a connection of its own."""
    scrapes, over = [], threading.Event()

    def scrape():
        while not over.is_set():
            try:
                scrapes.append(counters(httpx.get(f"{server.query}/metrics").raise_for_status().text))
            except httpx.TransportError:
                continue  # the one that was asked was killed

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield scrapes
    finally:
        over.set()
        thread.join()


def answered_in(scraped: dict[tuple, float]) -> float:
    return sum(value for key, value in scraped.items() if key[0] == "clipper_queries_total")


def hangs_on_negatives(batch):
    import time  # noqa: PLC0415  # travels with the function

    if batch[0, 0] < 0:
        time.sleep(1000)
    return 2 * batch[:, 0]


def test_a_replica_that_hangs_on_a_further_frontends_query_is_replaced(up):
    server = up()
    serve(server, predict=hangs_on_negatives, limits={"hang_timeout_s": 0.5})
    with Everybody(server) as all_three:
        client = next(client for pid, client in all_three.clients.items() if pid != server.process.pid)
        reply = client.post("/app/predict", json={"input": [-1.0], "timeout_ms": 100})
        assert reply.json()["code"] == "deadline_exceeded"
    until(lambda: server.cl.get_model_info("model", 1)["restarts"] == 1, "it is replaced")
    until(lambda: "hang_timeout_s is 0.5" in server.cl.get_all_model_replicas()[0]["reason"], "the reason")


def test_asked_to_stop_all_frontends_answer_what_they_accepted(up):
    server = up(CLIPPER_DRAIN_DELAY_S="0.3")
    serve(server)
    with Everybody(server) as all_three, Callers(server.query, "app", count=12) as callers:
        callers.go_on()
        server.signal(signal.SIGTERM)
        for client in all_three.clients.values():
            until(lambda client=client: client.get("/readyz").status_code == 503, "not ready any more")
        callers.go_on(10)
        assert server.wait() == 0
    assert callers.outcomes().keys() == {(200, None)}
    assert callers.unanswered == {}
    assert server.processes() == {}


def test_the_main_process_killed_no_frontend_stays_and_the_next_server_has_the_port(up):
    server = up()
    serve(server)
    left = workers(server)
    with Callers(server.query, "app", count=6) as callers:
        callers.go_on()
        server.kill()
        until(lambda: not any(worker.is_running() for worker in left), "no worker is left")
    port = server.query.rpartition(":")[2]
    server = up(CLIPPER_QUERY_PORT=port)
    with Everybody(server) as all_three:
        for client in all_three.clients.values():
            assert client.post("/app/predict", json={"input": [4.0]}).json()["output"] == 8.0
