"""POST /{app}/update, the same on both roads of the server."""

import json

import pytest
from rest_fakes import FakeFeedback
from rest_wire import bounded, predict, request, until

from clipper.errors import DuplicateFeedback, InvalidLabel, StoreUnavailable, UnknownQuery

BY_QUERY = {"query_id": "abc", "label": 3}


def update(body, **options) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request(options.pop("target", "/digits/update"), text, **options)


async def answer(wire, body, **options):
    wire.send(update(body, **options))
    return await bounded(wire.receive())


async def test_accepted_feedback_is_200(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    reply = await answer(wire, BY_QUERY)
    assert (reply.status, reply.json()) == (200, {"accepted": 1})
    assert [(app, one.query_id, one.label) for app, one in served.feedback.taken] == [("digits", "abc", 3)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DuplicateFeedback("Again."), 409),
        (UnknownQuery("Too old; send the input instead."), 410),
        (InvalidLabel("A number is expected."), 400),
    ],
    ids=lambda value: value.code if isinstance(value, Exception) else None,
)
async def test_one_piece_that_is_refused_has_the_status_of_its_error(serve, fast, error, status):
    served = await serve(feedback=FakeFeedback(outcome=lambda _: error), fast=fast)
    reply = await answer(await served.connect(), BY_QUERY)
    assert (reply.status, reply.json()) == (status, {"error": error.message, "code": error.code})


async def test_a_list_is_200_and_says_which_were_rejected_and_why(serve, fast):
    outcome = {"a": None, "b": DuplicateFeedback("Again."), "c": None}
    served = await serve(feedback=FakeFeedback(outcome=lambda one: outcome[one.query_id]), fast=fast)
    elements = [
        {"query_id": "a", "label": 1},
        {"label": 1},
        {"query_id": "b", "label": 1},
        {"query_id": "c", "label": 1},
    ]
    reply = await answer(await served.connect(), {"updates": elements})
    body = reply.json()
    assert (reply.status, body["accepted"]) == (200, 2)
    assert [(one["index"], one["code"]) for one in body["rejected"]] == [
        (1, "invalid_request"),
        (2, "duplicate_feedback"),
    ]
    assert "updates[1].query_id" in body["rejected"][0]["error"]
    assert len(served.feedback.taken) == 3


async def test_a_list_without_rejections_says_nothing_of_them(serve, fast):
    served = await serve(fast=fast)
    reply = await answer(await served.connect(), {"updates": [BY_QUERY, BY_QUERY]})
    assert (reply.status, reply.json()) == (200, {"accepted": 2})


async def test_a_list_of_which_nothing_is_feedback_is_200_too(serve, fast):
    served = await serve(fast=fast)
    reply = await answer(await served.connect(), {"updates": [7]})
    assert (reply.status, reply.json()["accepted"], len(reply.json()["rejected"])) == (200, 0, 1)
    assert served.feedback.taken == []


async def test_a_store_that_cannot_commit_is_503_with_retry_after(serve, fast):
    failure = StoreUnavailable("The disk is full.", retry_after_s=1.0)
    served = await serve(feedback=FakeFeedback(failure=failure), fast=fast)
    wire = await served.connect()
    for body in (BY_QUERY, {"updates": [BY_QUERY]}):
        reply = await answer(wire, body)
        assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (503, "store_unavailable", "1")
        assert reply.json()["retry_after_ms"] == 1000


async def test_an_unknown_application_is_404_and_a_bad_body_400(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    reply = await answer(wire, BY_QUERY, target="/letters/update")
    assert (reply.status, reply.json()["code"]) == (404, "unknown_application")
    reply = await answer(wire, {"label": 1})
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")
    assert served.lane.counters.refused == {"unknown_application": 1, "invalid_request": 1}


async def test_a_wrong_method_is_405(serve, fast):
    served = await serve(fast=fast)
    wire = await served.connect()
    wire.send(request("/digits/update", method="GET"))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


async def test_a_body_over_the_limit_is_413(serve, fast):
    served = await serve(fast=fast, max_body_bytes=1000)
    reply = await answer(await served.connect(), {"query_id": "a" * 1000, "label": 1})
    assert (reply.status, reply.json()["code"]) == (413, "too_large")


async def test_a_fault_of_the_server_is_500_without_a_traceback(serve, fast, caplog):
    served = await serve(feedback=FakeFeedback(failure=RuntimeError("secret")), fast=fast)
    reply = await answer(await served.connect(), BY_QUERY)
    assert (reply.status, reply.json()["code"]) == (500, "internal_error")
    assert b"secret" not in reply.body
    assert "secret" in caplog.text
    caplog.clear()


async def test_replies_keep_the_order_of_pipelined_requests(serve, fast):
    served = await serve(fast=fast)
    served.feedback.gate.clear()
    wire = await served.connect()
    wire.send(update(BY_QUERY) + predict(1) + update({"query_id": "b", "label": 0}))
    await until(lambda: served.feedback.taken)
    served.feedback.gate.set()
    first, second, third = [(await bounded(wire.receive())).json() for _ in range(3)]
    assert (first, second["output"], third) == ({"accepted": 1}, [1.0], {"accepted": 1})


async def test_a_client_that_goes_while_its_feedback_waits_leaves_nothing_behind(serve, fast):
    served = await serve(fast=fast)
    served.feedback.gate.clear()
    wire = await served.connect()
    wire.send(update(BY_QUERY))
    await until(lambda: served.feedback.taken)
    wire.reset()
    if fast:
        await until(lambda: served.feedback.cancelled == 1)
    served.feedback.gate.set()
    reply = await answer(await served.connect(), BY_QUERY)
    assert reply.status == 200


async def test_a_head_of_feedback_is_learned_and_means_feedback_the_next_time(serve):
    served = await serve()
    wire = await served.connect()
    await answer(wire, BY_QUERY)
    assert len(served.lane.known_heads) == 1
    served.lane.route_of = None  # the parser's road would need it
    assert (await answer(wire, {"query_id": "xyz", "label": 4})).json() == {"accepted": 1}
    assert [one.query_id for _, one in served.feedback.taken] == ["abc", "xyz"]


async def test_feedback_is_documented(serve):
    served = await serve()
    wire = await served.connect()
    wire.send(request("/openapi.json", method="GET"))
    document = (await bounded(wire.receive())).json()
    operation = document["paths"]["/{app}/update"]["post"]
    assert {"200", "400", "404", "409", "410", "503"} <= set(operation["responses"])
    assert "422" not in operation["responses"]
    assert len(operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]) == 3
