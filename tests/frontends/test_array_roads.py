"""Predictions whose numbers come as an array's memory, on both roads of the server, in front of a fake engine."""

import json
import struct

from rest_wire import request

PREDICT = "/digits/predict"
LENGTH = "Inference-Header-Content-Length"


def asking(fields, memory, *, length=None):
    head = json.dumps(fields).encode()
    return request(PREDICT, head + memory, headers=(f"{LENGTH}: {len(head) if length is None else length}",))


async def answered(wire, sent):
    wire.send(sent)
    received = await wire.receive()
    return received.status, received.json()


async def test_an_array_is_answered_as_its_numbers_are_on_both_roads(serve, fast):
    wire = await (await serve(fast=fast)).connect()
    for _ in range(3):  # the second one finds its head known
        status, answer = await answered(
            wire, asking({"input": {"datatype": "FP64", "shape": [2]}}, struct.pack("<2d", 1, 2))
        )
        by_json = await answered(wire, request(PREDICT, b'{"input": [1, 2]}'))
        assert (status, answer["output"]) == (by_json[0], by_json[1]["output"]) == (200, [1.0, 2.0])
    status, answer = await answered(wire, asking({"input_batch": {"datatype": "INT8", "shape": [2, 1]}}, b"\1\2"))
    assert [one["output"] for one in answer["batch_predictions"]] == [[1.0], [2.0]]


async def test_what_is_refused_is_counted_and_leaves_the_connection_open_on_both_roads(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    described = {"input": {"datatype": "FP64", "shape": [1]}}
    for sent, code in [
        (asking(described, b"1234567"), "invalid_input"),
        (asking(described, bytes(8), length="x"), "invalid_request"),
        (asking({"input": [1.0]}, b""), "invalid_input"),
        (asking(described, bytes(8), length=4), "invalid_json"),
        (request(PREDICT, b'{"input": {"datatype": "FP64", "shape": [1]}}'), "invalid_input"),
    ]:
        status, answer = await answered(wire, sent)
        assert (status, answer["code"]) == (400, code)
    assert (await answered(wire, asking(described, bytes(8))))[0] == 200
