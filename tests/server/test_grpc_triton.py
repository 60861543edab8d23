"""The gRPC client of Triton as it is, against a real server, in the process of our own client."""

import queue
import time

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

import clipper

RAW_OR_TYPED = pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])


def total(rows):
    return [float(row.sum()) for row in rows]


def echo(rows):
    return list(rows)


def mirror(rows):
    return [row.tolist() for row in rows]


def refuse(rows):
    raise ValueError(f"not {len(rows[0])} numbers")


def slow(rows):
    time.sleep(max(0.5, max(float(row[0]) for row in rows) - time.time()))  # a time in the future: until then
    return [0 for _ in rows]


@pytest.fixture(scope="module")
def served(cl):
    cl.deploy_model("total", 1, total, input_type="doubles", example_input=[1.0, 2.0])
    cl.register_application("sum", input_type="doubles", slo_ms=5000, models=["total"])
    cl.deploy_model("mirror", 1, mirror, input_type="doubles")
    cl.register_application("mirrored", input_type="doubles", slo_ms=5000, models=["mirror"])
    cl.deploy_model("echo", 1, echo, input_type="strings")
    cl.deploy_model("refuse", 1, refuse, input_type="floats")
    cl.deploy_model("slow", 1, slow, input_type="doubles")
    cl.register_application("leisurely", input_type="doubles", slo_ms=20_000, models=["slow"])
    cl.register_application("cautious", input_type="floats", slo_ms=5000, models=["refuse"], default_output=-1)
    return cl


@pytest.fixture(scope="module")
def address(served):
    return httpx.get(f"{served.session.admin_url}/admin/status").json()["grpc"]


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address) as client:
        yield client


def tensor(array, *, raw=True, datatype=None, name="input"):
    names = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64", "object": "BYTES"}
    one = triton.InferInput(name, list(array.shape), datatype or names.get(array.dtype.name, array.dtype.name.upper()))
    one.set_data_from_numpy(array)
    if not raw:
        contents = {"FP64": "fp64_contents", "FP32": "fp32_contents", "INT64": "int64_contents"}[one.datatype()]
        getattr(one._input.contents, contents).extend(array.ravel().tolist())  # the client has no word for it
        one._raw_content = None  # as above
    return one


def output_of(result):
    """The one output; Triton's client itself reads typed contents of bytes only."""
    response = result.get_response()
    if response.raw_output_contents:
        return result.as_numpy(response.outputs[0].name)
    (output,) = response.outputs
    ((_field, elements),) = output.contents.ListFields()
    return np.array(elements).reshape(output.shape)


def refusal(call, *arguments, **options):
    with pytest.raises(InferenceServerException) as caught:
        call(*arguments, **options)
    return caught.value.status(), caught.value.message()


def test_the_server_is_live_and_ready_and_says_who_it_is(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata.name == "clipper"
    assert "model_repository" in metadata.extensions


def test_applications_and_models_are_ready_and_described(client):
    assert client.is_model_ready("sum")
    assert client.is_model_ready("total", "1")
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("total", "9")
    metadata = client.get_model_metadata("sum", as_json=True)
    assert metadata["platform"] == "clipper_application"
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP64", "shape": ["-1", "2"]}]
    assert client.get_model_metadata("total", "1").versions == ["1"]
    status, message = refusal(client.get_model_metadata, "nobody")
    assert status == "StatusCode.NOT_FOUND"
    assert "nobody" in message


@RAW_OR_TYPED
def test_a_batch_is_answered_row_by_row(client, raw):
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]])
    result = client.infer("sum", [tensor(rows, raw=raw)], request_id="mine")
    assert output_of(result).tolist() == [3.0, 7.0, 11.5]
    response = result.get_response()
    assert response.id == "mine"
    assert response.model_name == "sum"
    assert response.parameters["query_ids"].string_param.count(",") == 2
    assert bool(response.raw_output_contents) is raw


def test_one_row_comes_with_its_query_id_and_without_a_default(client):
    parameters = client.infer("sum", [tensor(np.ones((1, 2)))]).get_response().parameters
    assert parameters["query_id"].string_param
    assert parameters["default"].bool_param is False


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)
def test_numbers_of_every_datatype_are_taken(client, dtype):
    assert client.infer("sum", [tensor(np.array([[1, 2]], dtype))]).as_numpy("output").tolist() == [3.0]


def test_strings_are_bytes_tensors(client):
    words = np.array([b"one", "zwölf".encode()], object)
    assert client.infer("echo", [tensor(words)]).as_numpy("output").tolist() == words.tolist()


def test_a_version_is_asked_by_its_name(client):
    result = client.infer("total", [tensor(np.ones((1, 2)))], model_version="1")
    assert result.get_response().model_version == "1"
    status, _ = refusal(client.infer, "total", [tensor(np.ones((1, 2)))], model_version="9")
    assert status == "StatusCode.NOT_FOUND"


def test_an_output_is_called_what_the_caller_calls_it(client):
    result = client.infer("sum", [tensor(np.ones((1, 2)))], outputs=[triton.InferRequestedOutput("y")])
    assert result.as_numpy("y").tolist() == [2.0]


@pytest.mark.parametrize(
    ("model", "array", "datatype", "words"),
    [
        ("nobody", np.ones((1, 2)), None, "nobody"),
        ("sum", np.ones(2), None, "shape"),
        ("sum", np.ones((1, 2, 1)), None, "shape"),
        ("total", np.ones((1, 3)), None, "2 numbers"),
        ("sum", np.array([[True, True]]), None, "BOOL"),
        ("echo", np.ones((1, 2)), None, "BYTES"),
        ("sum", np.array([[b"x"]], object), None, "BYTES"),
        ("sum", np.array([[np.nan, 1.0]]), None, "finite"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(client, model, array, datatype, words):
    status, message = refusal(client.infer, model, [tensor(array, datatype=datatype)])
    assert status == ("StatusCode.NOT_FOUND" if model == "nobody" else "StatusCode.INVALID_ARGUMENT")
    assert words in message
    assert "Traceback" not in message


def test_bf16_is_refused(client):
    one = triton.InferInput("input", [1, 2], "BF16")
    one._raw_content = bytes(4)  # numpy has no such numbers
    status, message = refusal(client.infer, "sum", [one])
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "BF16 is not served" in message


def test_a_model_that_raises_is_an_internal_error_or_the_default(client):
    status, message = refusal(client.infer, "refuse", [tensor(np.ones((1, 2), np.float32))])
    assert status == "StatusCode.INTERNAL"
    assert "not 2 numbers" in message
    result = client.infer("cautious", [tensor(np.ones((1, 2), np.float32))])
    assert result.as_numpy("output").tolist() == [-1]
    assert result.get_response().parameters["default"].bool_param is True
    assert "model_error" in result.get_response().parameters["default_explanation"].string_param


def test_the_timeout_of_the_client_and_of_the_request_end_the_query(client):
    one = np.array([[time.time()]])  # in no cache
    assert refusal(client.infer, "slow", [tensor(one)], client_timeout=0.1)[0] == "StatusCode.DEADLINE_EXCEEDED"
    status, message = refusal(client.infer, "slow", [tensor(one + 1)], timeout=100_000)
    assert status == "StatusCode.DEADLINE_EXCEEDED"
    assert message


def test_async_infer_answers_on_a_callback(client):
    answered = queue.Queue()
    for i in range(20):
        client.async_infer(
            "sum", [tensor(np.full((1, 2), i * 1.0))], callback=lambda result, error: answered.put((result, error))
        )
    found = [answered.get(timeout=10) for _ in range(20)]
    assert all(error is None for _, error in found)
    assert sorted(result.as_numpy("output")[0] for result, _ in found) == [2.0 * i for i in range(20)]


def test_a_stream_answers_each_request_and_an_error_ends_only_its_own(client):
    answered = queue.Queue()
    client.start_stream(lambda result, error: answered.put((result, error)))
    for i in range(10):
        client.async_stream_infer("sum", [tensor(np.full((1, 2), i * 1.0))], request_id=str(i))
    client.async_stream_infer("nobody", [tensor(np.ones((1, 2)))], request_id="wrong")
    client.async_stream_infer("sum", [tensor(np.ones((1, 2)))], request_id="last", enable_empty_final_response=True)
    found = [answered.get(timeout=10) for _ in range(12)]
    client.stop_stream()
    good = {result.get_response().id: result for result, error in found if error is None}
    assert {name: one.as_numpy("output")[0] for name, one in good.items()} == {
        **{str(i): 2.0 * i for i in range(10)},
        "last": 2.0,
    }
    assert good["last"].get_response().parameters["triton_final_response"].bool_param
    (error,) = (error for _, error in found if error is not None)
    assert "nobody" in error.message()


def test_a_fast_request_overtakes_a_slow_one_in_a_stream(client):
    answered = queue.Queue()
    client.start_stream(lambda result, error: answered.put(error or result.get_response().model_name))
    client.async_stream_infer("leisurely", [tensor(np.array([[time.time() + 3]]))])
    client.async_stream_infer("sum", [tensor(np.ones((1, 2)))])
    assert [answered.get(timeout=10) for _ in range(2)] == ["sum", "leisurely"]
    client.stop_stream()


def test_a_stream_that_is_cancelled_leaves_no_query_behind(served, client):
    client.start_stream(lambda result, error: None)
    client.async_stream_infer("slow", [tensor(np.full((5, 1), time.time()))])
    client.stop_stream(cancel_requests=True)  # the fixture looks for what is left


def test_the_index_lists_and_loading_is_refused_without_a_token(client):
    models = {(one.name, one.version): one.state for one in client.get_model_repository_index().models}
    assert models["total", "1"] == "READY"
    for change in (client.load_model, client.unload_model):
        status, message = refusal(change, "total")
        assert status == "StatusCode.PERMISSION_DENIED"
        assert "admin" in message


def test_what_triton_alone_has_is_unimplemented(client):
    assert refusal(client.get_model_config, "sum")[0] == "StatusCode.UNIMPLEMENTED"


NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=1, max_size=6)
    )
)
def test_rows_give_the_same_outputs_by_triton_raw_and_typed_and_by_our_own_client(served, address, rows):
    array = np.array(rows)
    ours = [one.output for one in served.predict_batch("mirrored", rows)]
    with clipper.connect(served.session.admin_url, protocol="grpc") as by_grpc:
        assert [by_grpc.predict("mirrored", row).output for row in array] == ours
    with triton.InferenceServerClient(address) as client:
        for raw in (True, False):
            result = client.infer("mirrored", [tensor(array, raw=raw)])
            np.testing.assert_array_equal(output_of(result), np.array(ours))
