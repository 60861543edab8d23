"""What is refused, the same on both roads of the server."""

import pytest
from rest_fakes import FakeEngine
from rest_wire import bounded, chunked, predict, request, until

BODY = b'{"input": [1.0, 2.5]}'


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_wrong_method_is_405_and_says_which_are_right(serve, fast, method):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(method=method))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"], reply.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert method in reply.json()["error"]


async def test_head_of_a_prediction_is_405_without_a_body(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(method="HEAD") + predict(3))
    assert (await bounded(wire.receive(head_only=True))).status == 405
    assert (await bounded(wire.receive())).json()["output"] == [3.0]


@pytest.mark.parametrize(
    "target", ["/", "/nothing", "/digits/predict/", "/digits/predict/more", "//predict", "/a%2Fb/predict"]
)
async def test_an_unknown_path_is_404_in_our_shape(serve, fast, target):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(target, BODY))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (404, "not_found")


async def test_an_unknown_application_is_404(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request("/letters/predict", BODY))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()) == (
        404,
        {"error": "There is no application 'letters'.", "code": "unknown_application"},
    )


@pytest.mark.parametrize(
    "target",
    [
        "/digits/predict",
        "/digits/predict?trace=1",
        "/%64igits/predict",
        "http://test:80/digits/predict",
        "/digits/predic%74?",
    ],
)
async def test_targets_that_mean_the_same_are_the_same(serve, fast, target):
    served = await serve(fast=fast)
    wire = await served.connect()
    for _ in range(2):
        wire.send(request(target, BODY))
        assert (await bounded(wire.receive())).status == 200


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"],
)
async def test_what_is_not_http_is_400_in_our_shape_then_closed(serve, fast, garbage):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(garbage)
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"], reply.headers["connection"]) == (400, "invalid_request", "close")
    assert await bounded(wire.receive_end()) == b""


async def test_garbage_behind_a_good_request_does_not_destroy_its_answer(serve, fast):
    served = await serve(engine=FakeEngine("held"), fast=fast)
    wire = await served.connect()
    wire.send(predict(1) + b"\x00garbage\r\n\r\n")
    await until(lambda: served.engine.waiting)
    served.engine.release_all()
    assert (await bounded(wire.receive())).json()["output"] == [1.0]
    assert (await bounded(wire.receive())).status == 400
    assert await bounded(wire.receive_end()) == b""


async def test_a_broken_chunk_is_400(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(chunked(b'{"input"', end=b"zz\r\n"))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")
    assert await bounded(wire.receive_end()) == b""


async def test_two_lengths_are_400(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(headers=("Transfer-Encoding: chunked",), length=5) + b"0\r\n\r\n")
    assert (await bounded(wire.receive())).status == 400
    assert served.engine.submitted == []


async def test_a_compressed_body_is_415(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(body=BODY, headers=("Content-Encoding: gzip",)))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (415, "unsupported_media_type")


async def test_a_body_that_was_compressed_for_its_transfer_is_415(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(chunked(BODY).replace(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (415, "unsupported_media_type")
    assert "'gzip, chunked'" in reply.json()["error"]


@pytest.mark.parametrize("number", ["NaN", "-Infinity"])
async def test_who_sends_what_json_does_not_have_is_told(serve, fast, number):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(body=b'{"input": [1, %b]}' % number.encode()))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (400, "invalid_json")
    assert "JSON has no NaN and no Infinity" in reply.json()["error"]


async def test_who_administers_on_the_query_port_is_told(serve):
    served = await serve()
    wire = await served.connect()
    wire.send(request("/admin/status", method="GET"))
    assert "The admin API is on a port of its own" in (await bounded(wire.receive())).json()["error"]
