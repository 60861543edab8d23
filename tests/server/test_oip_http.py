"""The Open Inference Protocol byte by byte, against a real server."""

import json
import socket

import httpx
import numpy as np
import pytest


def spread(rows):
    return [[row.tolist(), [0.0] * len(row)] for row in rows]


def mixed(rows):
    return [{"a": 1} if row.sum() > 0 else None for row in rows]


def flags(rows):
    return [bool(row.sum() > 0) for row in rows]


def words(rows):
    return ["päivää" for _ in rows]


@pytest.fixture(scope="module")
def served(cl):
    for function in (spread, mixed, flags, words):
        cl.deploy_model(function.__name__, 1, function, input_type="floats")
    cl.register_application("app", input_type="floats", slo_ms=2000, models=["spread"])
    cl.register_application("flags", input_type="floats", slo_ms=2000, models=["words"])
    cl.register_application("committee", input_type="floats", slo_ms=2000, models=["flags"], policy="majority")
    return cl


@pytest.fixture
def http(served):
    with httpx.Client(base_url=served.session.query_url) as client:
        yield client


def asked(data, shape=None, **fields):
    shape = shape or [len(data), len(data[0])]
    return {"inputs": [{"name": "input", "datatype": "FP32", "shape": shape, "data": data}], **fields}


def test_nested_outputs_become_dimensions(http):
    body = http.post("/v2/models/app/infer", json=asked([[1, 2], [3, 4]])).json()
    (output,) = body["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("output", "FP64", [2, 2, 2])
    assert output["data"] == [1, 2, 0, 0, 3, 4, 0, 0]
    assert body["model_name"] == "app"
    assert "id" not in body


@pytest.mark.parametrize(
    ("model", "datatype", "data"),
    [("flags", "BOOL", [True, False]), ("words", "BYTES", ["päivää"] * 2), ("mixed", "BYTES", ['{"a":1}', "null"])],
)
def test_each_kind_of_output_has_its_datatype(http, model, datatype, data):
    reply = http.post(f"/v2/models/{model}/versions/1/infer", json=asked([[1], [-1]]))
    (output,) = reply.json()["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == (datatype, [2], data)
    assert reply.json()["model_version"] == "1"


def test_a_name_is_the_applications_before_it_is_a_models(http):
    assert http.post("/v2/models/flags/infer", json=asked([[1]])).json()["outputs"][0]["data"] == ["päivää"]
    assert http.post("/v2/models/flags/versions/1/infer", json=asked([[1]])).json()["outputs"][0]["data"] == [True]


def test_an_output_is_called_and_coded_as_asked(http):
    outputs = [{"name": "y", "parameters": {"binary_data": True}}]
    reply = http.post("/v2/models/app/infer", json=asked([[1, 2]], outputs=outputs))
    assert reply.headers["content-type"] == "application/octet-stream"
    length = int(reply.headers["inference-header-content-length"])
    (output,) = json.loads(reply.content[:length])["outputs"]
    assert output == {"name": "y", "datatype": "FP64", "shape": [1, 2, 2], "parameters": {"binary_data_size": 32}}
    assert np.frombuffer(reply.content[length:], "<f8").tolist() == [1, 2, 0, 0]


def test_one_output_may_differ_from_what_is_asked_for_all(http):
    body = asked([[1, 2]], parameters={"binary_data_output": True})
    assert "inference-header-content-length" in http.post("/v2/models/app/infer", json=body).headers
    body["outputs"] = [{"name": "output", "parameters": {"binary_data": False}}]
    assert http.post("/v2/models/app/infer", json=body).json()["outputs"][0]["data"] == [1, 2, 0, 0]


def test_confidence_and_models_come_back_in_parameters(http):
    parameters = http.post("/v2/models/committee/infer", json=asked([[1]])).json()["parameters"]
    assert parameters["confidence"] == 1.0
    assert json.loads(parameters["models"]) == ["flags:1"]


def test_feedback_takes_the_query_id_of_the_response(http):
    query_id = http.post("/v2/models/committee/infer", json=asked([[2]])).json()["parameters"]["query_id"]
    assert http.post("/committee/update", json={"query_id": query_id, "label": True}).json() == {"accepted": 1}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"outputs": [{"name": "a"}, {"name": "b"}]}, "has one output"),
        ({"outputs": [{"name": "a", "parameters": {"classification": 3}}]}, "'classification'"),
        ({"parameters": {"timeout": 1.5}}, "microseconds"),
        ({"parameters": {"sequence_id": 1}}, "Sequences"),
        ({"id": 3}, "$.id"),
    ],
)
def test_what_is_not_served_is_refused_with_the_protocols_error(http, fields, sentence):
    reply = http.post("/v2/models/app/infer", json=asked([[1, 2]], **fields))
    assert reply.status_code == 400
    assert sentence in reply.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("GET", "/v2/models/app/versions/1", 404),
        ("GET", "/v2/models/spread/versions/9/ready", 404),
        ("POST", "/v2/models/nobody/infer", 404),
        ("GET", "/v2/models/app/infer", 405),
        ("GET", "/v2/models/app/config", 404),
        ("POST", "/v2/repository/models/spread/load", 403),
        ("POST", "/v2/repository/models/spread/unload", 403),
    ],
)
def test_paths_that_are_not_there_answer_with_the_protocols_error(http, method, path, status):
    reply = http.request(method, path)
    assert reply.status_code == status
    assert reply.json()["error"].endswith(".")


def test_metadata_of_a_version_and_readiness_by_json(http):
    metadata = http.get("/v2/models/spread/versions/1").json()
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, -1]}]
    assert http.get("/v2/models/spread/versions/1/ready").json() == {"name": "spread", "ready": True}
    assert http.get("/v2").json()["name"] == "clipper"


def test_the_index_takes_no_body_or_asks_for_those_that_are_ready(http):
    everything = http.post("/v2/repository/index").json()
    assert {entry["name"] for entry in everything} == {"spread", "mixed", "flags", "words"}
    assert http.post("/v2/repository/index", json={"ready": True}).json() == everything
    assert {entry["state"] for entry in everything} == {"READY"}
    assert http.post("/v2/repository/index", content=b"[").status_code == 400


def test_bodies_of_one_length_with_other_heads_are_told_apart_on_one_connection(served):
    """Heads are learned; the length of the JSON is in the head, and it may differ where the body's does not."""
    host, port = served.session.query_url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port))) as raw, raw.makefile("rb") as stream:
        for padding in (0, 3, 0, 3):
            one = {"name": "x", "datatype": "INT8", "shape": [1, 4 - padding]}
            head = json.dumps({"inputs": [one | {"parameters": {"binary_data_size": 4 - padding}}]}).encode()
            head += b" " * padding
            raw.sendall(
                b"POST /v2/models/app/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
                b"Inference-Header-Content-Length: %d\r\n\r\n%b"
                % (len(head) + 4 - padding, len(head), head)
                + bytes([1, 2, 3, 4][: 4 - padding])
            )
            assert stream.readline().split()[1] == b"200"
            headers = dict(line.lower().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
            (output,) = json.loads(stream.read(int(headers[b"content-length"])))["outputs"]
            assert output["shape"] == [1, 2, 4 - padding]
            assert output["data"][: 4 - padding] == [1, 2, 3, 4][: 4 - padding]


def test_a_refused_body_leaves_the_connection_open(served):
    host, port = served.session.query_url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port))) as raw, raw.makefile("rb") as stream:
        for _ in range(2):
            raw.sendall(
                b"POST /v2/models/app/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                b"Inference-Header-Content-Length: many\r\n\r\n{}"
            )
            assert stream.readline().split()[1] == b"400"
            headers = dict(line.lower().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
            assert (
                "Inference-Header-Content-Length" in json.loads(stream.read(int(headers[b"content-length"])))["error"]
            )


def test_a_compressed_body_is_refused(http):
    reply = http.post("/v2/models/app/infer", content=b"x", headers={"content-encoding": "gzip"})
    assert reply.status_code == 415
    assert "uncompressed" in reply.json()["error"]
