"""gRPC of the real ``clipper up``: several processes behind one address, and a server that stops."""

import os
import signal
import sys
import threading

import cloudpickle
import grpc
import httpx
import pytest
from server_process import ServerProcess, replica_processes, until

from clipper.protocols import Messages

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

V1 = Messages("clipper.v1")


@pytest.fixture
def up(tmp_path):
    started = []

    def start(**environment):
        server = ServerProcess(tmp_path / "data", **environment)
        started.append(server)
        server.cl.deploy_model("model", 1, slow_on_negatives, input_type="doubles")
        server.cl.register_application("app", input_type="doubles", slo_ms=10_000, models=["model"])
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
    for pids in replica_processes(tmp_path / "data").values():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def slow_on_negatives(batch):
    import time  # noqa: PLC0415  # travels with the function

    if (batch[:, 0] < 0).any():
        time.sleep(1.0)
    return 2 * batch[:, 0]


def predict(address, x, **options):
    # A channel of its own is a connection of its own.
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(
            "/clipper.v1.Clipper/Predict",
            request_serializer=V1.PredictRequest.SerializeToString,
            response_deserializer=V1.Prediction.FromString,
        )
        return call(V1.PredictRequest(application="app", input=V1.Input(json=b"[%d]" % x)), timeout=20, **options)


def test_every_frontend_answers_on_the_one_grpc_address(up):
    server = up(CLIPPER_FRONTENDS="2")
    address = server.cl.get_status()["grpc"]
    prefixes = set()
    until(lambda: prefixes.add(predict(address, 2).query_id.split("-")[0]) or len(prefixes) == 2, "both have answered")
    assert predict(address, 3).output == b"6.0"


def test_a_server_that_stops_answers_what_it_accepted_over_grpc(up):
    server = up()
    address = server.cl.get_status()["grpc"]
    replies = []
    caller = threading.Thread(target=lambda: replies.append(predict(address, -1)))
    caller.start()
    until(lambda: _under_way(server), "the query is under way")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    caller.join()
    assert [reply.output for reply in replies] == [b"-2.0"]
    with pytest.raises(grpc.RpcError) as failure:
        predict(address, 1)
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


def _under_way(server):
    return "clipper_live_queries 1" in httpx.get(f"{server.query}/metrics").text


def test_a_stream_left_open_does_not_hold_the_server_up(up):
    server = up()
    asked, gone = threading.Event(), threading.Event()

    def inputs():
        yield [1.0]
        asked.set()
        gone.wait(20)

    answers = server.cl.predict_stream("app", inputs())
    assert next(answers)[1].output == 2.0
    server.signal(signal.SIGTERM)
    with pytest.raises(Exception, match="shutting down"):
        next(answers)
    gone.set()
    assert server.wait() == 0
