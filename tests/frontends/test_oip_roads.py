"""Inference by the Open Inference Protocol on both roads of the server, in front of a fake engine."""

import json

import pytest
from rest_fakes import FakeEngine
from rest_wire import predict, request, until

from clipper.errors import ModelError, NoModelReady

INFER = "/v2/models/digits/infer"


def infer(*rows, target=INFER, **fields):
    one = {
        "name": "x",
        "datatype": "FP64",
        "shape": [len(rows), len(rows[0])],
        "data": [v for row in rows for v in row],
    }
    return request(target, json.dumps({"inputs": [one], **fields}).encode())


async def test_a_request_is_answered_alike_on_both_roads(serve, fast):
    wire = await (await serve(fast=fast)).connect()
    wire.send(infer([1.0, 2.0], [3.0, 4.0], id="seven"))
    received = await wire.receive()
    assert received.status == 200
    assert received.headers["content-type"] == "application/json"
    assert received.json() == {
        "model_name": "digits",
        "id": "seven",
        "parameters": {"query_ids": '["q0","q1"]'},
        "outputs": [{"name": "output", "datatype": "FP64", "shape": [2, 2], "data": [1.0, 2.0, 3.0, 4.0]}],
    }


async def test_binary_goes_in_and_out_on_both_roads(serve, fast):
    wire = await (await serve(fast=fast)).connect()
    one = {"name": "x", "datatype": "INT8", "shape": [1, 3], "parameters": {"binary_data_size": 3}}
    head = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
    length = f"Inference-Header-Content-Length: {len(head)}"
    wire.send(request(INFER, head + b"\1\2\3", headers=(length,)))
    received = await wire.receive()
    assert received.headers["content-type"] == "application/octet-stream"
    start = int(received.headers["inference-header-content-length"])
    assert json.loads(received.body[:start])["outputs"][0]["parameters"] == {"binary_data_size": 24}
    assert len(received.body[start:]) == 24


async def test_what_is_refused_is_counted_and_answered_on_both_roads(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    for target, body, status, code in [
        (INFER, b"{}", 400, "invalid_request"),
        ("/v2/models/nobody/infer", b"{}", 404, "unknown_model"),
        ("/v2/models/nobody/versions/1/infer", b"{}", 404, "unknown_model"),
    ]:
        wire.send(request(target, body))
        received = await wire.receive()
        assert (received.status, received.json()["code"]) == (status, code)
    assert served.lane.counters.refused == {"invalid_request": 1, "unknown_model": 2}


@pytest.mark.parametrize("error", [ModelError("It raised."), NoModelReady("Nothing is ready.", retry_after_s=1.0)])
async def test_an_error_of_the_engine_is_the_reply_of_its_request(serve, fast, error):
    wire = await (await serve(engine=FakeEngine("soon", error=error), fast=fast)).connect()
    wire.send(infer([1.0]))
    received = await wire.receive()
    assert (received.status, received.json()["error"]) == (error.http_status, error.message)
    assert ("retry-after" in received.headers) is (error.retry_after_s is not None)


async def test_a_default_answers_instead_of_an_error(serve, fast):
    wire = await (await serve(engine=FakeEngine(error=ModelError("It raised."), default=b"-1"), fast=fast)).connect()
    wire.send(infer([1.0]))
    body = (await wire.receive()).json()
    assert body["outputs"][0]["data"] == [-1]
    assert body["parameters"] == {
        "query_id": "q0",
        "default": True,
        "default_explanation": "model_error: It raised.",
    }


async def test_a_client_that_goes_away_cancels_its_queries(serve, fast):
    served = await serve(engine=FakeEngine("held"), fast=fast)
    wire = await served.connect()
    wire.send(infer([1.0], [2.0]))
    await until(lambda: len(served.engine.waiting) == 2)
    wire.reset()
    await until(lambda: len(served.engine.cancelled) == 2)
    assert not served.engine.waiting


async def test_requests_of_both_protocols_are_answered_in_their_order(serve):
    served = await serve(engine=FakeEngine("held"))
    wire = await served.connect()
    wire.send(infer([1.0]) + predict(2) + infer([3.0]))
    await until(lambda: len(served.engine.waiting) == 3)
    served.engine.release_all(last_first=True)
    assert (await wire.receive()).json()["outputs"][0]["data"] == [1.0]
    assert (await wire.receive()).json()["output"] == [2.0]
    assert (await wire.receive()).json()["outputs"][0]["data"] == [3.0]


async def test_a_batch_larger_than_one_turn_is_answered_in_full(serve, fast):
    wire = await (await serve(engine=FakeEngine("soon"), fast=fast)).connect()
    wire.send(infer(*[[float(i)] for i in range(1000)]))
    assert (await wire.receive()).json()["outputs"][0]["data"] == [float(i) for i in range(1000)]


async def test_a_head_that_was_learned_asks_the_same_again(serve):
    served = await serve()
    wire = await served.connect()
    for number in range(3):
        wire.send(infer([float(number)]))
        assert (await wire.receive()).json()["outputs"][0]["data"] == [number]
    assert len(served.lane.known_heads) == 1
