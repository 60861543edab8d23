"""The calls of ``clipper.v1.Clipper`` that have one reply."""

import asyncio
import inspect
import re

import numpy as np
import pytest
import pytest_asyncio
from grpc_served import V1, ServedGrpc, failure_of
from rest_fakes import FakeApplication, FakeEngine
from rest_wire import until

from clipper import errors
from clipper_frontends.grpc.server import GrpcServer
from clipper_frontends.rest.limits import Limits


@pytest_asyncio.fixture
async def served():
    one = await ServedGrpc(limits=Limits(max_body_bytes=10_000)).start()
    one.engine.applications |= {
        kind: FakeApplication(kind, kind) for kind in ("floats", "integers", "strings", "bytes", "json")
    }
    yield one
    await one.stop()


NUMBERS = np.array([1.0, 2.0, -3.0])


@pytest.mark.parametrize("app", ["digits", "floats", "integers"])
async def test_an_input_of_numbers_is_one_query_however_it_is_written(served, app):
    for value in (
        {"doubles": NUMBERS.tobytes()},
        {"floats": NUMBERS.astype("<f4").tobytes()},
        {"integers": NUMBERS.astype("<i4").tobytes()},
        {"numbers": V1.Numbers(values=NUMBERS)},
        {"json": b"[1, 2.0, -3]"},
    ):
        reply = await served.predict(app, **value)
        assert reply.output in {b"[1.0, 2.0, -3.0]", b"[1, 2, -3]"}
    assert len({query.row for query in served.engine.submitted}) == 1


@pytest.mark.parametrize(
    ("app", "value", "row"),
    [
        ("strings", {"text": "grün"}, "grün".encode()),
        ("strings", {"json": b'"a"'}, b"a"),
        ("bytes", {"data": b"\x00\xff"}, b"\x00\xff"),
        ("bytes", {"json": b'"AP8="'}, b"\x00\xff"),
        ("json", {"json": b'{"b": 1, "a": [2]}'}, b'{"a":[2],"b":1}'),
    ],
)
async def test_text_bytes_and_json_become_the_rows_of_the_rest_api(served, app, value, row):
    await served.predict(app, **value)
    assert served.engine.submitted[0].row == row


@pytest.mark.parametrize(
    ("app", "value", "sentence"),
    [
        ("digits", {}, "input is missing"),
        ("digits", {"doubles": b"1234567"}, "input has 7 bytes of doubles, which take 8 bytes each"),
        ("digits", {"doubles": b""}, "input must have at least one number"),
        ("digits", {"doubles": np.array([np.nan]).tobytes()}, r"input\[0\] must be a finite 64-bit number"),
        ("floats", {"floats": np.array([np.inf], "<f4").tobytes()}, r"input\[0\] must be a finite"),
        ("floats", {"doubles": np.array([1e300]).tobytes()}, r"input\[0\] must be a finite number within the 32-bit"),
        ("integers", {"doubles": np.array([1.5]).tobytes()}, r"input\[0\] must be a whole number"),
        ("digits", {"text": "a"}, "input has 'text', and the application takes doubles"),
        ("strings", {"doubles": b"12345678"}, "input has 'doubles', and the application takes strings"),
        ("digits", {"json": b"[1, true]"}, "must be a number, got true"),
    ],
)
async def test_an_input_that_does_not_fit_is_refused_with_a_sentence(served, app, value, sentence):
    status, code, details = await failure_of(served.predict(app, **value))
    assert (status, code) == ("INVALID_ARGUMENT", "invalid_input")
    assert re.search(sentence, details)
    assert served.refused == {"invalid_input": 1}
    assert not served.engine.submitted


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"timeout_ms": 0.0}, "timeout_ms"),
        ({"timeout_ms": float("nan")}, "timeout_ms"),
        ({"uid": "u" * 257}, "uid"),
        ({"version": "v" * 64}, "version"),
    ],
)
async def test_options_out_of_range_are_refused(served, options, word):
    status, code, details = await failure_of(served.predict(json=b"[1]", options=options))
    assert (status, code) == ("INVALID_ARGUMENT", "invalid_request")
    assert word in details


async def test_a_width_that_the_model_does_not_take_is_refused(served):
    served.engine.applications["digits"].input_width = 2
    assert (await failure_of(served.predict(doubles=NUMBERS.tobytes())))[2] == "input must have 2 numbers, got 3."


async def test_a_version_is_forced_under_single_only(served):
    await served.predict(json=b"[1]", options={"version": "2", "uid": "u", "explain": True})
    asked = served.engine.submitted[0]
    assert (asked.version, asked.uid, asked.explain) == ("2", "u", True)
    served.engine.applications["digits"].policy_name = "exp4"
    assert "single" in (await failure_of(served.predict(json=b"[1]", options={"version": "2"})))[2]


async def test_what_is_no_message_is_refused_as_such(served):
    status, code, details = await failure_of(served.call("Predict", b"\xff\xff\xff", timeout=5))
    assert (status, code) == ("INVALID_ARGUMENT", "invalid_request")
    assert details == "The request is no message of type clipper.v1.PredictRequest."


async def test_a_message_over_the_limit_is_refused_before_it_is_read(served):
    assert (await failure_of(served.predict(doubles=bytes(20_000))))[0] == "RESOURCE_EXHAUSTED"


async def test_an_unknown_application_is_not_found(served):
    assert (await failure_of(served.predict("nobody", json=b"[1]")))[:2] == ("NOT_FOUND", "unknown_application")


ERRORS = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, errors.ClipperError)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
async def test_every_error_has_its_status_its_code_and_its_sentence(served, error):
    served.engine.error = error("A sentence.", retry_after_s=0.25)
    call = served.predict(json=b"[1]")
    assert await failure_of(call) == (error.grpc_status, error.code, "A sentence.")
    assert dict(await call.trailing_metadata())["retry-after-ms"] == "250"


async def test_a_default_answers_with_its_reason(served):
    served.engine.error, served.engine.default = errors.DeadlineExceeded("Too late."), b"-1"
    reply = await served.predict(json=b"[1]")
    assert (reply.output, reply.default) == (b"-1", True)
    assert reply.default_explanation == "deadline_exceeded: Too late."


async def test_the_deadline_of_the_call_is_the_deadline_of_the_query(served):
    await served.predict(json=b"[1]", timeout=0.5)
    await served.predict(json=b"[1]", timeout=0.5, options={"timeout_ms": 20.0})
    await served.predict(json=b"[1]", timeout=None)
    first, second, third = (query.timeout_ms for query in served.engine.submitted)
    assert 0 < first <= 600  # gRPC rounds a timeout up when it sends it
    assert second == 20.0
    assert third is None


async def test_a_cancelled_call_frees_its_query(served):
    served.engine.when = "held"
    call = served.predict(json=b"[1]")
    batch = served.call(
        "PredictBatch", V1.PredictBatchRequest(application="digits", inputs=[V1.Input(json=b"[1]")] * 3)
    )
    await until(lambda: len(served.engine.waiting) == 4)
    call.cancel()
    batch.cancel()
    await until(lambda: len(served.engine.cancelled) == 4)


async def test_a_call_whose_deadline_passes_frees_its_query(served):
    served.engine.when = "held"
    assert (await failure_of(served.predict(json=b"[1]", timeout=0.05)))[0] == "DEADLINE_EXCEEDED"
    await until(lambda: len(served.engine.cancelled) == 1)


async def test_a_batch_is_answered_in_its_order(served):
    served.engine.when = "soon"
    request = V1.PredictBatchRequest(application="digits", inputs=[V1.Input(json=b"[%d]" % i) for i in range(600)])
    reply = await served.call("PredictBatch", request, timeout=5)
    assert [one.output for one in reply.predictions] == [b"[%d.0]" % i for i in range(600)]


async def test_elements_of_a_batch_fail_by_themselves_and_bad_inputs_fail_it(served):
    served.engine.error = errors.ModelError("It raised.")
    request = V1.PredictBatchRequest(application="digits", inputs=[V1.Input(json=b"[1]")])
    (one,) = (await served.call("PredictBatch", request, timeout=5)).predictions
    assert (one.error.code, one.error.message) == ("model_error", "It raised.")
    request.inputs.append(V1.Input(json=b"[]"))
    assert "inputs[1]" in (await failure_of(served.call("PredictBatch", request, timeout=5)))[2]
    empty = V1.PredictBatchRequest(application="digits")
    assert (await failure_of(served.call("PredictBatch", empty, timeout=5)))[0] == "INVALID_ARGUMENT"


async def test_feedback_is_accepted_or_rejected_one_by_one(served):
    served.feedback.outcome = lambda update: errors.UnknownQuery("Too old.") if update.query_id == "old" else None
    updates = [
        V1.Feedback(query_id="q", label=b"3"),
        V1.Feedback(query_id="old", label=b"3"),
        V1.Feedback(input=V1.Input(json=b"[1]"), label=b'"a"', uid="u", update_id="x"),
        V1.Feedback(query_id="q", label=b"3", uid="u"),
        V1.Feedback(label=b"3"),
        V1.Feedback(query_id="q"),
    ]
    reply = await served.call("Update", V1.UpdateRequest(application="digits", updates=updates), timeout=5)
    assert reply.accepted == 2
    assert {one.index: one.error.code for one in reply.rejected} == {
        1: "unknown_query", 3: "invalid_request", 4: "invalid_request", 5: "invalid_json",
    }  # fmt: skip
    assert [(u.label, u.query_id, u.uid, u.update_id) for _, u in served.feedback.taken] == [
        (3, "q", None, None), (3, "old", None, None), ("a", None, "u", "x"),
    ]  # fmt: skip


async def test_feedback_that_cannot_be_committed_is_unavailable(served):
    served.feedback.failure = errors.StoreUnavailable("The disk is full.")
    request = V1.UpdateRequest(application="digits", updates=[V1.Feedback(query_id="q", label=b"3")])
    assert (await failure_of(served.call("Update", request, timeout=5)))[:2] == ("UNAVAILABLE", "store_unavailable")


async def test_a_failure_of_ours_is_logged_and_not_told(served, caplog):
    served.engine.application = lambda _name: 1 / 0
    status, code, details = await failure_of(served.predict(json=b"[1]"))
    assert (status, code) == ("INTERNAL", "internal_error")
    assert "division" not in details
    assert "division" in caplog.text


async def test_an_address_in_use_is_said_to_be(served):
    with pytest.raises(OSError, match=r"cannot listen for gRPC on 127\.0\.0\.1 port \d+"):
        GrpcServer(
            "127.0.0.1", served.server.port, engine=FakeEngine(), feedback=served.feedback,
            limits=Limits(),
            refused=served.refused, repository=served.repository,
        )  # fmt: skip


async def test_a_burst_of_calls_is_answered_and_not_cut_by_the_core(served):
    burst = [served.predict("digits", doubles=np.array([float(i)]).tobytes()) for i in range(4000)]
    replies = await asyncio.gather(*burst)
    assert [reply.output for reply in replies] == [b"[%d.0]" % i for i in range(4000)]
