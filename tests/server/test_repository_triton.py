"""Triton's clients load and unload models of a real server, with one frontend and with several."""

import threading
import time

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from test_oip_triton import tensor as http_tensor
from tritonclient.utils import InferenceServerException

import clipper

TOKEN = "geheim"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BEARER_METADATA = {"authorization": f"Bearer {TOKEN}"}


def total(rows):
    return [float(row.sum()) for row in rows]


def negated(rows):
    return [-float(row.sum()) for row in rows]


def breaks(rows):
    raise RuntimeError("no such file: weights.bin")


def deployed(cl):
    cl.deploy_model("total", 1, total, input_type="doubles")
    cl.deploy_model("total", 2, negated, input_type="doubles", promote=False)
    cl.deploy_model("other", 1, total, input_type="doubles")
    cl.register_application("sum", input_type="doubles", slo_ms=20_000, models=["total"])
    return cl


@pytest.fixture(scope="module", params=[1, 2], ids=["one frontend", "two frontends"])
def cl(request):
    """A server with an admin token."""
    with clipper.local(admin_token=TOKEN, frontends=request.param) as connection:
        status = httpx.get(f"{connection.session.admin_url}/admin/status", headers=BEARER).json()
        connection.session.query_url = status["query"]
        connection.grpc_address = status["grpc"]
        yield deployed(connection)


@pytest.fixture(params=["http", "grpc"])
def client(request, cl):
    """Triton's client of either protocol, with the calls that differ made alike."""
    if request.param == "http":
        with tritonclient.http.InferenceServerClient(cl.session.query_url.removeprefix("http://")) as one:
            yield Client(one, BEARER, "401", "404", http_tensor)
    else:
        with tritonclient.grpc.InferenceServerClient(cl.grpc_address) as one:
            yield Client(one, BEARER_METADATA, "StatusCode.UNAUTHENTICATED", "StatusCode.NOT_FOUND", grpc_tensor)


def grpc_tensor(array):
    one = tritonclient.grpc.InferInput("input", list(array.shape), "FP64")
    one.set_data_from_numpy(array)
    return one


class Client:
    def __init__(self, triton, bearer, unauthenticated, not_found, tensor):
        self.triton = triton
        self.bearer = bearer
        self.unauthenticated = unauthenticated
        self.not_found = not_found
        self._tensor = tensor

    def index(self):
        found = self.triton.get_model_repository_index()
        entries = (
            found
            if isinstance(found, list)
            else [
                {"name": one.name, "version": one.version, "state": one.state, "reason": one.reason}
                for one in found.models
            ]
        )
        return {(entry["name"], entry["version"]): entry["state"] for entry in entries}

    def answer(self, model="sum", **options):
        """To an input that is in no cache, as a multiple of it."""
        x = time.time()
        return self.triton.infer(model, [self._tensor(np.array([[x]]))], **options).as_numpy("output")[0] / x

    def load(self, model="total"):
        self.triton.load_model(model, headers=self.bearer)

    def unload(self, model="total"):
        self.triton.unload_model(model, headers=self.bearer)

    def refused(self, call, *arguments, **options):
        with pytest.raises(InferenceServerException) as caught:
            call(*arguments, **options)
        return caught.value.status(), caught.value.message()


@pytest.fixture(autouse=True)
def loaded_again(cl):
    """Whatever a test has left, the next one finds version 1 of the model in service."""
    yield
    cl.set_model_version("total", 1)
    httpx.post(f"{cl.session.query_url}/v2/repository/models/total/load", headers=BEARER, timeout=60).raise_for_status()


def processes(cl):
    """What runs of the model, and since when."""
    return {
        replica["replica_id"]: replica["pid"] for replica in cl.get_all_model_replicas() if replica["model"] == "total"
    }


def everywhere(cl):
    """One connection after another: each may be answered by another frontend."""
    for _ in range(8):
        with httpx.Client(base_url=cl.session.query_url) as one:
            yield one


def test_an_unloaded_model_is_gone_everywhere_when_the_answer_is_there(cl, client):
    client.unload()
    for http in everywhere(cl):
        assert http.get("/v2/models/total/ready").status_code == 503
        assert http.post("/sum/predict", json={"input": [time.time()]}).status_code == 503
    assert not client.triton.is_model_ready("total")
    assert client.index() == {
        ("total", "1"): client.index()["total", "1"],
        ("total", "2"): client.index()["total", "2"],
        ("other", "1"): "READY",
    }
    assert {client.index()["total", version] for version in "12"} <= {"UNLOADING", "UNAVAILABLE"}


def test_a_loaded_model_answers_everywhere_when_the_answer_is_there(cl, client):
    client.unload()
    client.load()
    for http in everywhere(cl):
        x = time.time()
        assert http.get("/v2/models/total/ready").status_code == 200
        assert http.post("/sum/predict", json={"input": [x]}).json()["output"] == x
    assert client.index()["total", "1"] == "READY"
    assert client.answer() == 1


def test_what_had_the_traffic_is_loaded_again(cl, client):
    cl.set_model_version("total", 2)
    client.load()
    assert client.answer() == -1
    client.unload()
    client.load()
    assert client.answer() == -1


def test_loading_what_serves_is_answered_at_once_and_changes_nothing(cl, client):
    before = processes(cl)
    client.load()
    assert processes(cl) == before


def test_every_frontend_takes_changes_and_refuses_them_alike(cl):
    for http in everywhere(cl):
        assert http.post("/v2/repository/models/total/load", headers=BEARER).json() == {}
        reply = http.post("/v2/repository/models/nobody/load", headers=BEARER)
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_model")
        assert reply.json()["error"] == "There is no model 'nobody'."
        reply = http.post("/v2/repository/models/total/load", headers={"Authorization": "Bearer wrong"})
        assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")


def test_a_version_may_be_named(cl):
    def change(action, **parameters):
        url = f"{cl.session.query_url}/v2/repository/models/total/{action}"
        return httpx.post(url, json={"parameters": parameters}, headers=BEARER, timeout=60)

    assert change("load", version="2").status_code == 200
    for http in everywhere(cl):
        assert http.post("/sum/predict", json={"input": [time.time()]}).json()["output"] < 0
    assert change("unload", version="1").status_code == 200
    for http in everywhere(cl):
        assert http.get("/v2/models/total/versions/1/ready").status_code in {404, 503}
        assert http.get("/v2/models/total/ready").status_code == 200
    assert change("load", version="9").status_code == 404


def test_nobody_changes_anything_without_the_token(client):
    for change in (client.triton.load_model, client.triton.unload_model):
        status, message = client.refused(change, "total")
        assert status == client.unauthenticated
        assert "admin token" in message
        wrong = {next(iter(client.bearer)): "Bearer wrong"}
        status, message = client.refused(change, "total", headers=wrong)
        assert status in {"403", "StatusCode.PERMISSION_DENIED"}
    assert client.answer() == 1


def test_what_is_no_model_is_not_loaded(client):
    status, message = client.refused(client.load, "nobody")
    assert status == client.not_found
    assert "no model 'nobody'" in message
    status, message = client.refused(client.load, "sum")
    assert "'sum' is an application" in message


def test_a_model_that_cannot_be_loaded_says_why(cl, client):
    with pytest.raises(clipper.ClipperError):
        cl.deploy_model("broken", 1, breaks, input_type="doubles", example_input=[1.0])
    cl.stop_models(["broken"])
    try:
        status, message = client.refused(client.load, "broken")
        assert status in {"503", "StatusCode.UNAVAILABLE"}
        assert "weights.bin" in message
    finally:
        httpx.delete(f"{cl.session.admin_url}/admin/models/broken", headers=BEARER).raise_for_status()


def test_callers_of_another_model_notice_nothing(cl, client):
    over, failures = threading.Event(), []

    def ask():
        with httpx.Client(base_url=cl.session.query_url) as http:
            while not over.is_set():
                reply = http.post("/v2/models/other/infer", json=FLAT)
                if reply.status_code != 200:
                    failures.append(reply.text)

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        client.unload()
        client.load()
    finally:
        over.set()
        caller.join(20)
    assert not failures


FLAT = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [1.0]}]}
