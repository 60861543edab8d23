"""The rest of Triton's clients as they are: those for event loops, their ways to give up, compression, plugins."""

import asyncio
import queue
import time

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

import clipper

ROWS = np.array([[1.0, 2.0], [3.0, 4.5]])


def total(rows):
    return [float(row.sum()) for row in rows]


def slow(rows):
    time.sleep(1.0)
    return [0 for _ in rows]


def refuse(rows):
    raise ValueError(f"not {len(rows[0])} numbers")


@pytest.fixture(scope="module")
def served(cl):
    cl.deploy_model("total", 1, total, input_type="doubles")
    cl.register_application("sum", input_type="doubles", slo_ms=20_000, models=["total"])
    cl.deploy_model("slow", 1, slow, input_type="doubles")
    cl.register_application("patient", input_type="doubles", slo_ms=20_000, models=["slow"])
    cl.deploy_model("refuse", 1, refuse, input_type="doubles")
    return cl


@pytest.fixture(scope="module")
def http_address(served):
    return served.session.query_url.removeprefix("http://")


@pytest.fixture(scope="module")
def grpc_address(served):
    return httpx.get(f"{served.session.admin_url}/admin/status").json()["grpc"]


@pytest.fixture(params=["http", "grpc"])
async def client(request, http_address, grpc_address):
    """Triton's client for event loops, of either protocol."""
    module, address = {
        "http": (tritonclient.http.aio, http_address),
        "grpc": (tritonclient.grpc.aio, grpc_address),
    }[request.param]
    async with module.InferenceServerClient(address) as one:
        one.module = module
        yield one


def tensor(module, array):
    one = module.InferInput("input", list(array.shape), "FP64")
    one.set_data_from_numpy(array)
    return one


def in_no_cache():
    return np.array([[time.time()]])


async def refusal(call):
    with pytest.raises(InferenceServerException) as caught:
        await call
    return caught.value.status(), caught.value.message()


async def test_on_an_event_loop_server_and_models_are_ready_and_described(client):
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("sum")
    assert not await client.is_model_ready("nobody")
    metadata = await client.get_model_metadata("sum")
    assert (metadata["name"] if isinstance(metadata, dict) else metadata.name) == "sum"
    index = await client.get_model_repository_index()
    assert len(index if isinstance(index, list) else index.models) == 3


async def test_on_an_event_loop_requests_are_answered_at_once_together(client):
    rows = [ROWS * i for i in range(20)]
    asked = [client.infer("sum", [tensor(client.module, array)], request_id=str(i)) for i, array in enumerate(rows)]
    answers = await asyncio.gather(*asked)
    assert [answer.as_numpy("output").tolist() for answer in answers] == [array.sum(axis=1).tolist() for array in rows]


async def test_on_an_event_loop_errors_are_tritons_own(client):
    status, message = await refusal(client.infer("nobody", [tensor(client.module, ROWS)]))
    assert status in {"404", "StatusCode.NOT_FOUND"}
    assert "nobody" in message
    status, message = await refusal(client.infer("refuse", [tensor(client.module, ROWS)]))
    assert status in {"500", "StatusCode.INTERNAL"}
    assert "not 2 numbers" in message
    status, _ = await refusal(client.infer("patient", [tensor(client.module, in_no_cache())], timeout=100_000))
    assert status in {"429", "504", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.RESOURCE_EXHAUSTED"}


async def test_on_an_event_loop_a_cancelled_request_is_given_up(client):
    asked = asyncio.ensure_future(client.infer("patient", [tensor(client.module, in_no_cache())]))
    await asyncio.wait([asked], timeout=0.2)
    asked.cancel()
    with pytest.raises((asyncio.CancelledError, InferenceServerException)):  # the fixture looks for what is left
        await asked


async def test_on_an_event_loop_a_stream_is_answered_one_by_one(grpc_address):
    async def requests():
        for i in range(10):
            inputs = [tensor(tritonclient.grpc, ROWS[:1] * i)]
            yield {"model_name": "sum" if i != 5 else "nobody", "inputs": inputs, "request_id": str(i)}

    answers, errors = {}, []
    async with tritonclient.grpc.aio.InferenceServerClient(grpc_address) as client:
        async for result, error in client.stream_infer(requests()):
            if error is not None:
                errors.append(error)
            else:
                answers[result.get_response().id] = result.as_numpy("output").tolist()
    assert answers == {str(i): [3.0 * i] for i in range(10) if i != 5}
    (error,) = errors
    assert isinstance(error, InferenceServerException)
    assert "nobody" in error.message()


async def test_a_deadline_of_a_call_on_an_event_loop_ends_its_query(grpc_address):
    async with tritonclient.grpc.aio.InferenceServerClient(grpc_address) as client:
        one = [tensor(tritonclient.grpc, in_no_cache())]
        status, _ = await refusal(client.infer("patient", one, client_timeout=0.2))
    assert status == "StatusCode.DEADLINE_EXCEEDED"


async def test_our_own_client_works_beside_it_on_the_same_event_loop(client, served):
    array = np.array([[0.5, 0.25]])
    async with clipper.connect_async(served.session.admin_url, protocol="grpc") as ours:
        by_us, by_triton = await asyncio.gather(
            ours.predict("sum", array[0]), client.infer("sum", [tensor(client.module, array)])
        )
        assert by_us.output == by_triton.as_numpy("output")[0] == 0.75
        streamed = {place: answer.output async for place, answer in ours.predict_stream("sum", ROWS)}
    assert streamed == {0: 3.0, 1: 7.5}


def test_a_call_that_is_cancelled_by_its_context_is_given_up(grpc_address):
    outcomes = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(grpc_address) as client:
        one = [tensor(tritonclient.grpc, in_no_cache())]
        under_way = client.async_infer("patient", one, callback=lambda result, error: outcomes.put((result, error)))
        under_way.cancel()
        result, error = outcomes.get(timeout=20)
    assert result is None
    assert isinstance(error, InferenceServerException)
    assert error.status() == "StatusCode.CANCELLED"


def test_a_client_that_waits_no_longer_leaves_no_query_behind(http_address):
    with (
        tritonclient.http.InferenceServerClient(http_address, network_timeout=0.2) as client,
        pytest.raises(TimeoutError),
    ):
        client.infer("patient", [tensor(tritonclient.http, in_no_cache())])  # the fixture looks for what is left


def test_asynchronous_requests_fail_each_for_itself(http_address):
    with tritonclient.http.InferenceServerClient(http_address, concurrency=4) as client:
        names = ["sum", "nobody", "sum", "refuse"]
        asked = [client.async_infer(name, [tensor(tritonclient.http, ROWS)]) for name in names]
        outcomes = []
        for one in asked:
            try:
                outcomes.append(one.get_result().as_numpy("output").tolist())
            except InferenceServerException as error:
                outcomes.append(error.status())
    assert outcomes == [[3.0, 7.5], "404", [3.0, 7.5], "500"]


def test_an_answer_may_be_asked_for_compressed_and_a_question_may_not_be(http_address):
    with tritonclient.http.InferenceServerClient(http_address) as client:
        one = [tensor(tritonclient.http, ROWS)]
        answer = client.infer("sum", one, response_compression_algorithm="gzip")
        assert answer.as_numpy("output").tolist() == [3.0, 7.5]
        with pytest.raises(InferenceServerException, match="uncompressed") as caught:
            client.infer("sum", one, request_compression_algorithm="gzip")
    assert caught.value.status() == "415"


def test_bodies_made_and_read_by_the_client_alone_are_served(http_address):
    """Its static methods, for those who bring their own HTTP client."""
    body, json_bytes = tritonclient.http.InferenceServerClient.generate_request_body([tensor(tritonclient.http, ROWS)])
    headers = {"Inference-Header-Content-Length": str(json_bytes)}
    reply = httpx.post(f"http://{http_address}/v2/models/sum/infer", content=body, headers=headers)
    length = reply.headers.get("inference-header-content-length")
    read = tritonclient.http.InferenceServerClient.parse_response_body(
        reply.content, header_length=int(length) if length else None
    )
    assert read.as_numpy("output").tolist() == [3.0, 7.5]
