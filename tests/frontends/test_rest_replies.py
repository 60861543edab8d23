"""Answers and errors to the bytes of replies."""

import json
from types import SimpleNamespace

import pytest
from rest_fakes import FakeEngine
from rest_wire import bounded, predict, request

from clipper.engine.answer import Answer
from clipper.errors import DeadlineExceeded, ModelError, NoModelReady, Overloaded, PolicyFailed
from clipper_frontends.rest.head import Heads
from clipper_frontends.rest.reply import reply_of_error, reply_to_batch, reply_to_query


def test_an_output_is_spliced_in_as_it_came():
    reply = reply_to_query(Answer("abc", b'{"digit": 3,"p":[0.1, 0.90]}'))
    assert reply.body == b'{"query_id":"abc","output":{"digit": 3,"p":[0.1, 0.90]},"default":false}'


def test_an_ensemble_names_its_models_its_confidence_and_who_is_missing():
    answer = Answer("abc", b"3", models=("svm:2", "forest:1"), confidence=0.5, missing=("forest:1",))
    assert json.loads(reply_to_query(answer).body) == {
        "query_id": "abc",
        "output": 3,
        "default": False,
        "models": ["svm:2", "forest:1"],
        "confidence": 0.5,
        "missing": ["forest:1"],
    }


def test_a_model_that_was_chosen_is_named():
    body = reply_to_query(Answer("abc", b"3", models=("svm:2",))).body
    assert body == b'{"query_id":"abc","output":3,"default":false,"models":["svm:2"]}'


def test_an_answer_without_its_policy_says_why():
    answer = Answer("abc", b"3", models=("svm:2",), fallback=PolicyFailed("The policy 'own' raised."))
    assert json.loads(reply_to_query(answer).body) == {
        "query_id": "abc",
        "output": 3,
        "default": False,
        "models": ["svm:2"],
        "fallback_explanation": "policy_failed: The policy 'own' raised.",
    }


def test_a_default_says_why():
    answer = Answer("abc", b"-1", default=True, error=DeadlineExceeded("The deadline passed."))
    assert json.loads(reply_to_query(answer).body) == {
        "query_id": "abc",
        "output": -1,
        "default": True,
        "default_explanation": "deadline_exceeded: The deadline passed.",
    }


def test_an_explanation_is_added():
    assert json.loads(reply_to_query(Answer("a", b"1", explanation={"batch_size": 3})).body)["explanation"] == {
        "batch_size": 3
    }


@pytest.mark.parametrize(
    ("seconds", "header", "milliseconds"), [(0.004, b"1", 4), (1.2, b"2", 1200), (3.0, b"3", 3000)]
)
def test_waiting_is_announced_in_whole_seconds_and_in_milliseconds(seconds, header, milliseconds):
    reply = reply_of_error(Overloaded("Too much.", retry_after_s=seconds))
    assert reply.status == 429
    assert list(reply.headers) == [(b"retry-after", header)]
    assert json.loads(reply.body) == {"error": "Too much.", "code": "overloaded", "retry_after_ms": milliseconds}


def test_a_batch_is_a_list_with_the_errors_in_their_places():
    answers = [Answer("a", b"1"), Answer("b", error=ModelError("ValueError: no")), Answer("c", b"3")]
    assert json.loads(reply_to_batch(answers).body) == {
        "batch_predictions": [
            {"query_id": "a", "output": 1, "default": False},
            {"query_id": "b", "error": "ValueError: no", "code": "model_error"},
            {"query_id": "c", "output": 3, "default": False},
        ]
    }


def test_the_head_of_a_reply_follows_the_clock():
    state = SimpleNamespace(default_headers=[(b"date", b"then")])
    heads = Heads(state)
    assert b"date: then\r\n" in heads.ok()
    state.default_headers = [(b"date", b"now")]
    assert heads.ok() == b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-type: application/json\r\ncontent-length: "


async def test_a_refusal_of_the_engine_reaches_the_caller_with_retry_after(serve, fast):
    served = await serve(engine=FakeEngine(error=NoModelReady("Nothing is linked.", retry_after_s=1.5)), fast=fast)
    wire = await served.connect()
    wire.send(predict(1) + predict(2))
    for _ in range(2):
        reply = await bounded(wire.receive())
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
        assert reply.json() == {"error": "Nothing is linked.", "code": "no_model_ready", "retry_after_ms": 1500}


async def test_a_default_is_a_200(serve, fast):
    served = await serve(engine=FakeEngine(error=DeadlineExceeded("Late."), default=b"-1"), fast=fast)
    wire = await served.connect()
    wire.send(predict(1))
    reply = await bounded(wire.receive())
    assert (reply.status, reply.json()["default_explanation"]) == (200, "deadline_exceeded: Late.")


async def test_a_batch_whose_elements_fail_is_a_200(serve, fast):
    served = await serve(engine=FakeEngine(error=DeadlineExceeded("Late.")), fast=fast)
    wire = await served.connect()
    wire.send(request(body=b'{"input_batch": [[1]]}'))
    reply = await bounded(wire.receive())
    assert reply.status == 200
    assert reply.json() == {"batch_predictions": [{"query_id": "q0", "error": "Late.", "code": "deadline_exceeded"}]}
