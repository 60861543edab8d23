"""HTTP behaviour, the same on both roads of the server."""

import asyncio
import json

import pytest
from rest_fakes import FakeApplication, FakeEngine
from rest_wire import bounded, chunked, predict, request, until

BODY = b'{"input": [1.0, 2.5]}'


async def test_a_prediction_has_the_promised_shape(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(body=BODY))
    reply = await bounded(wire.receive())
    assert reply.status == 200
    assert reply.json() == {"query_id": "q0", "output": [1.0, 2.5], "default": False}
    assert reply.headers["content-type"] == "application/json"
    assert "date" in reply.headers
    assert "connection" not in reply.headers


@pytest.mark.parametrize("when", ["now", "soon"])
async def test_a_connection_serves_many_requests(serve, fast, when):
    served = await serve(engine=FakeEngine(when), fast=fast)
    wire = await served.connect()
    for number in range(20):
        wire.send(predict(number))
        assert (await bounded(wire.receive())).json()["output"] == [number]
    assert served.server.connections == 1


async def test_connection_close_is_answered_then_closed(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(body=BODY, headers=("Connection: close",)))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert await bounded(wire.receive_end()) == b""


async def test_nothing_behind_connection_close_is_served(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(predict(1, headers=("Connection: close",)) + predict(2))
    assert (await bounded(wire.receive())).json()["output"] == [1.0]
    assert await bounded(wire.receive_end()) == b""
    assert len(served.engine.submitted) == 1


async def test_http_1_0_is_answered_then_closed(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(body=BODY, version="1.0", headers=("Connection: keep-alive",)) + predict(2))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert await bounded(wire.receive_end()) == b""
    assert len(served.engine.submitted) == 1


async def test_a_chunked_body_is_read(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(chunked(b'{"inp', b'ut": [1.0', b", 2.5]}"))
    assert (await bounded(wire.receive())).json()["output"] == [1.0, 2.5]


async def test_trailers_are_dropped(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(chunked(BODY, end=b"0\r\nExpect: 100-continue\r\nX-Trailer: 1\r\n\r\n") + predict(2))
    assert (await bounded(wire.receive())).status == 200
    assert (await bounded(wire.receive())).json()["output"] == [2.0]


async def test_a_trailer_that_closes_the_connection_closes_it(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(chunked(BODY, end=b"0\r\nConnection: close\r\n\r\n") + predict(2))
    assert (await bounded(wire.receive())).status == 200
    assert await bounded(wire.receive_end()) == b""


async def test_an_empty_body_is_400(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request())
    reply = await bounded(wire.receive())
    assert reply.status == 400
    assert reply.json()["code"] == "invalid_json"
    wire.send(predict(1))
    assert (await bounded(wire.receive())).status == 200


async def test_expect_continue_is_answered_before_the_body(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(length=len(BODY), headers=("Expect: 100-continue",)))
    assert (await bounded(wire.receive())).status == 100
    wire.send(BODY)
    assert (await bounded(wire.receive())).json()["output"] == [1.0, 2.5]


async def test_expect_continue_of_a_body_that_is_too_large_is_refused_at_once(serve, fast):
    served = await serve(fast=fast, max_body_bytes=100)
    wire = await served.connect()
    wire.send(request(length=101, headers=("Expect: 100-continue",)))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("apart", [False, True], ids=["in one segment", "body apart"])
async def test_an_offer_to_upgrade_is_ignored_and_the_body_kept(serve, fast, apart):
    """What Java's HttpClient sends by default."""
    served = await serve(fast=fast)
    wire = await served.connect()
    headers = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    head = request(headers=headers, length=len(BODY))
    wire.send(head)
    if apart:
        await until(lambda: any(c.arriving for c in served.server._server.server_state.connections))
    wire.send(BODY + predict(7))
    assert (await bounded(wire.receive())).json()["output"] == [1.0, 2.5]
    assert (await bounded(wire.receive())).json()["output"] == [7.0]


async def test_the_connection_header_of_an_ignored_offer_is_still_meant(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(body=BODY, headers=("Connection: close, Upgrade", "Upgrade: h2c")))
    assert (await bounded(wire.receive())).headers["connection"] == "close"
    assert await bounded(wire.receive_end()) == b""


async def test_an_offer_of_websocket_is_ignored(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request("/livez", method="GET", headers=("Connection: Upgrade", "Upgrade: websocket")))
    assert (await bounded(wire.receive())).status == 200


async def test_connect_is_refused(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n")
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("when", ["soon", "held"])
async def test_half_close_is_answered(serve, fast, when):
    served = await serve(engine=FakeEngine(when), fast=fast)
    wire = await served.connect()
    wire.send(predict(1))
    wire.end()
    if when == "held":
        await until(
            lambda: served.engine.waiting and all(c._ended for c in served.server._server.server_state.connections)
        )
        assert not served.engine.cancelled
        served.engine.release_all()
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["output"]) == (200, [1.0])
    assert await bounded(wire.receive_end()) == b""


async def test_a_truncated_body_is_400(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(body=BODY, length=len(BODY) + 1))
    wire.end()
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")
    assert await bounded(wire.receive_end()) == b""


async def test_truncated_headers_are_400_behind_the_answer_before(serve, fast):
    served = await serve(engine=FakeEngine("soon"), fast=fast)
    wire = await served.connect()
    wire.send(predict(1) + b"POST /digits/predict HTTP/1.1\r\nHost: t")
    wire.end()
    assert (await bounded(wire.receive())).json()["output"] == [1.0]
    assert (await bounded(wire.receive())).status == 400
    assert await bounded(wire.receive_end()) == b""


async def test_a_silent_client_that_leaves_is_forgotten(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    await until(lambda: served.server.connections == 1)
    wire.end()
    assert await bounded(wire.receive_end()) == b""
    await until(lambda: served.server.connections == 0)


async def test_a_lost_connection_cancels_its_query(serve, fast):
    served = await serve(engine=FakeEngine("held"), fast=fast)
    wire = await served.connect()
    wire.send(predict(1))
    await until(lambda: served.engine.waiting)
    wire.reset()
    await until(lambda: served.engine.cancelled)
    assert [ticket.query_id for ticket in served.engine.cancelled] == ["q0"]
    assert not served.engine.waiting


async def test_a_lost_connection_cancels_its_whole_batch(serve, fast):
    served = await serve(engine=FakeEngine("held"), fast=fast)
    wire = await served.connect()
    wire.send(request(body=b'{"input_batch": [[1], [2], [3]]}'))
    await until(lambda: len(served.engine.waiting) == 3)
    served.engine.release(served.engine.waiting[1])
    wire.reset()
    await until(lambda: len(served.engine.cancelled) == 2)
    assert not served.engine.waiting


async def test_a_batch_is_answered_in_order_when_all_are_in(serve, fast):
    served = await serve(engine=FakeEngine("held"), fast=fast)
    wire = await served.connect()
    wire.send(request(body=b'{"input_batch": [[1], [2], [3]]}'))
    await until(lambda: len(served.engine.waiting) == 3)
    served.engine.release_all(last_first=True)
    predictions = (await bounded(wire.receive())).json()["batch_predictions"]
    assert [p["output"] for p in predictions] == [[1.0], [2.0], [3.0]]
    assert [p["query_id"] for p in predictions] == ["q0", "q1", "q2"]


async def test_a_large_batch_is_answered(serve, fast):
    served = await serve(engine=FakeEngine("soon"), fast=fast)
    wire = await served.connect()
    wire.send(request(body=json.dumps({"input_batch": [[float(i)] for i in range(3000)]}).encode()))
    predictions = (await bounded(wire.receive())).json()["batch_predictions"]
    assert [p["output"] for p in predictions] == [[float(i)] for i in range(3000)]


async def test_bad_input_names_the_field(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request(body=b'{"input": [1, 2, 3, true]}'))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()) == (
        400,
        {"error": "input[3] must be a number, got true.", "code": "invalid_input"},
    )
    assert served.lane.counters.refused == {"invalid_input": 1}


async def test_another_width_than_the_model_takes_is_400(serve, fast):
    engine = FakeEngine(applications={"digits": FakeApplication(input_width=3)})
    served = await serve(engine=engine, fast=fast)
    wire = await served.connect()
    wire.send(request(body=BODY))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["error"]) == (400, "input must have 3 numbers, got 2.")


async def test_a_fault_of_ours_is_500_without_its_details(serve, fast, caplog, monkeypatch):
    served = await serve(fast=fast)

    def broken(*_args):
        raise RuntimeError("secret")

    monkeypatch.setattr(served.engine, "submit", broken)
    wire = await served.connect()
    wire.send(predict(1))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["code"]) == (500, "internal_error")
    assert b"secret" not in reply.body
    assert "secret" in caplog.text
    caplog.clear()  # the fixture wants a clean log


async def test_replies_of_two_connections_do_not_mix(serve, fast):
    served = await serve(engine=FakeEngine("held"), fast=fast)
    first, second = await served.connect(), await served.connect()
    first.send(predict(1))
    await until(lambda: len(served.engine.waiting) == 1)
    second.send(predict(2))
    await until(lambda: len(served.engine.waiting) == 2)
    served.engine.release_all(last_first=True)
    assert (await bounded(first.receive())).json()["output"] == [1.0]
    assert (await bounded(second.receive())).json()["output"] == [2.0]


async def test_many_connections_at_once(serve, fast):
    served = await serve(engine=FakeEngine("soon"), fast=fast)

    async def ask(number: int) -> bool:
        wire = await served.connect()
        wire.send(predict(number))
        return (await wire.receive()).json()["output"] == [float(number)]

    assert all(await bounded(asyncio.gather(*(ask(number) for number in range(50)))))
