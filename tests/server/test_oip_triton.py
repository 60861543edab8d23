"""The HTTP client of Triton as it is, against a real server."""

import json
import time

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

BINARY_OR_JSON = pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])


def total(rows):
    return [float(row.sum()) for row in rows]


def pair(rows):
    return [[float(row.min()), float(row.max())] for row in rows]


def echo(rows):
    return list(rows)


def refuse(rows):
    raise ValueError(f"not {len(rows[0])} numbers")


def slow(rows):
    time.sleep(0.5)
    return [0 for _ in rows]


@pytest.fixture(scope="module")
def served(cl):
    cl.deploy_model("total", 1, total, input_type="doubles")
    cl.deploy_model("total", 2, pair, input_type="doubles", promote=False)
    cl.register_application("sum", input_type="doubles", slo_ms=2000, models=["total"])
    cl.deploy_model("echo", 1, echo, input_type="strings")
    cl.deploy_model("echo-json", 1, echo, input_type="json")
    cl.deploy_model("refuse", 1, refuse, input_type="floats")
    cl.deploy_model("slow", 1, slow, input_type="doubles")
    cl.register_application("refused", input_type="floats", slo_ms=2000, models=["refuse"])
    cl.register_application("cautious", input_type="floats", slo_ms=2000, models=["refuse"], default_output=-1)
    return cl


@pytest.fixture
def client(served):
    with triton.InferenceServerClient(served.session.query_url.removeprefix("http://"), concurrency=4) as client:
        yield client


def tensor(array, *, binary=True, datatype=None, name="input"):
    names = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64", "object": "BYTES"}
    datatype = datatype or names.get(array.dtype.name) or array.dtype.name.upper()
    one = triton.InferInput(name, list(array.shape), datatype)
    one.set_data_from_numpy(array, binary_data=binary)
    return one


def test_the_server_is_live_and_ready_and_says_who_it_is(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata["name"] == "clipper"
    assert "binary_tensor_data" in metadata["extensions"]


def test_an_application_and_a_model_are_ready_and_described(client):
    assert client.is_model_ready("sum")
    assert client.is_model_ready("total", "2")
    assert not client.is_model_ready("nobody")
    metadata = client.get_model_metadata("sum")
    assert metadata["platform"] == "clipper_application"
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, -1]}]
    assert client.get_model_metadata("total", "1")["versions"] == ["1", "2"]


@BINARY_OR_JSON
def test_one_row_is_one_query(client, binary):
    outputs = [triton.InferRequestedOutput("output", binary_data=binary)]
    result = client.infer("sum", [tensor(np.array([[1.5, 2.5]]), binary=binary)], outputs=outputs, request_id="r1")
    assert result.as_numpy("output").tolist() == [4.0]
    response = result.get_response()
    assert response["id"] == "r1"
    assert response["parameters"]["query_id"]
    assert response["parameters"]["default"] is False
    assert ("data" in response["outputs"][0]) is not binary


@BINARY_OR_JSON
def test_a_batch_is_a_query_for_each_row(client, binary):
    rows = np.arange(12, dtype=np.float64).reshape(6, 2)
    result = client.infer("sum", [tensor(rows, binary=binary)])
    assert result.as_numpy("output").tolist() == rows.sum(axis=1).tolist()
    assert len(json.loads(result.get_response()["parameters"]["query_ids"])) == 6


@BINARY_OR_JSON
@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]
)
def test_every_datatype_of_numbers_feeds_an_application_of_doubles(client, dtype, binary):
    result = client.infer("sum", [tensor(np.array([[1, 2, 3]], dtype), binary=binary)])
    assert result.as_numpy("output").tolist() == [6.0]


def test_half_precision_feeds_doubles(client):
    assert client.infer("sum", [tensor(np.array([[0.5, 1]], np.float16))]).as_numpy("output").tolist() == [1.5]


def test_booleans_are_no_numbers(client):
    with pytest.raises(InferenceServerException, match="BOOL") as caught:
        client.infer("sum", [tensor(np.array([[True]]))])
    assert caught.value.status() == "400"


def test_a_version_by_name_answers_whatever_is_current(client):
    assert client.infer("total", [tensor(np.array([[1.0, 2.0]]))]).as_numpy("output").tolist() == [3.0]
    result = client.infer("total", [tensor(np.array([[1.0, 2.0]]))], model_version="2")
    assert result.as_numpy("output").tolist() == [[1.0, 2.0]]
    assert result.get_response()["model_version"] == "2"


@BINARY_OR_JSON
def test_strings_go_in_and_come_out(client, binary):
    words = np.array([["grün".encode()], [b""]], dtype=object)
    result = client.infer("echo", [tensor(words, binary=binary)])
    assert [word.decode() for word in result.as_numpy("output")] == ["grün", ""]


def test_json_goes_in_as_bytes_and_comes_out_as_text(client):
    result = client.infer("echo-json", [tensor(np.array([b'{"b": 1, "a": [true]}'], dtype=object))])
    assert json.loads(result.as_numpy("output")[0]) == {"a": [True], "b": 1}


def test_asynchronous_inference_answers_each_request(client):
    asked = [client.async_infer("sum", [tensor(np.array([[float(i), 1.0]]))]) for i in range(8)]
    assert [one.get_result().as_numpy("output").tolist() for one in asked] == [[i + 1.0] for i in range(8)]


def test_unknown_models_and_versions_are_not_found(client):
    for version in ("", "7"):
        with pytest.raises(InferenceServerException) as caught:
            client.infer("nobody", [tensor(np.array([[1.0]]))], model_version=version)
        assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="no running version '7'"):
        client.infer("total", [tensor(np.array([[1.0]]))], model_version="7")


def test_a_row_that_fails_fails_the_request_with_the_models_error(client):
    with pytest.raises(InferenceServerException, match=r"Row 0 of the batch: .*not 2 numbers") as caught:
        client.infer("refused", [tensor(np.ones((2, 2), np.float32))])
    assert caught.value.status() == "500"


def test_a_default_is_an_answer_and_says_so(client):
    response = client.infer("cautious", [tensor(np.ones((1, 2), np.float32))])
    assert response.as_numpy("output").tolist() == [-1]
    assert response.get_response()["parameters"]["default"] is True
    assert response.get_response()["parameters"]["default_explanation"].startswith("model_error: ")


def test_a_timeout_in_microseconds_is_the_querys_deadline(client):
    with pytest.raises(InferenceServerException) as caught:
        client.infer("slow", [tensor(np.array([[1.0]]))], timeout=20_000)
    assert caught.value.status() in {"429", "504"}


def test_sequences_and_shared_memory_are_refused(client):
    with pytest.raises(InferenceServerException, match="Sequences are not served"):
        client.infer("sum", [tensor(np.array([[1.0]]))], sequence_id=3, sequence_start=True)
    shared = triton.InferInput("input", [1, 1], "FP64")
    shared.set_shared_memory("region", 8)
    with pytest.raises(InferenceServerException, match="Shared memory is not served"):
        client.infer("sum", [shared])


def test_the_repository_lists_versions_and_is_not_changed_from_here(client):
    index = client.get_model_repository_index()
    assert {"name": "total", "version": "2", "state": "READY", "reason": ""} in index
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="admin port") as caught:
            change("total")
        assert caught.value.status() == "403"


def test_both_forms_of_one_input_share_a_cache_entry(client, served):
    rows = np.array([[0.1, 12345.678]])
    url = f"{served.session.query_url}/metrics"

    def hits():
        lines = httpx.get(url).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("clipper_cache_hits_total"))

    client.infer("sum", [tensor(rows)])
    before = hits()
    client.infer("sum", [tensor(rows, binary=False)])
    served.predict("sum", rows[0].tolist())
    assert hits() == before + 2
