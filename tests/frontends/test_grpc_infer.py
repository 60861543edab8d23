"""Requests of the Open Inference Protocol over gRPC that no client library would send, and calls that are given up."""

import asyncio
import struct

import pytest
import pytest_asyncio
from grpc_served import ServedGrpc, failure_of
from hypothesis import given
from hypothesis import strategies as st
from rest_fakes import FakeApplication
from rest_wire import until

from clipper import errors
from clipper.protocols import Messages
from clipper_frontends.grpc.tensors import tensors_of

OIP = Messages("inference")
ROW = struct.pack("<2d", 1.0, 2.0)


@pytest_asyncio.fixture
async def served():
    one = await ServedGrpc().start()
    one.engine.applications |= {kind: FakeApplication(kind, kind) for kind in ("integers", "strings", "bytes")}
    yield one
    await one.stop()


def asking(name="digits", datatype="FP64", shape=(1, 2), raw=(ROW,), **fields):
    contents = fields.pop("contents", None)
    tensor = OIP.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
    if contents is not None:
        tensor.contents.CopyFrom(OIP.InferTensorContents(**contents))
    return OIP.ModelInferRequest(model_name=name, inputs=[tensor], raw_input_contents=raw, **fields)


def call(served, request, method="ModelInfer", reply="ModelInferResponse", **options):
    made = served.channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=lambda r: r if isinstance(r, bytes) else r.SerializeToString(),
        response_deserializer=getattr(OIP, reply).FromString,
    )
    return made(request, timeout=options.pop("timeout", 5.0), **options)


def stream(served):
    return served.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda r: r if isinstance(r, bytes) else r.SerializeToString(),
        response_deserializer=OIP.ModelStreamInferResponse.FromString,
    )()


HUGE = 1 << 40


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        (lambda: asking(raw=[ROW[:-1]]), "16 bytes"),
        (lambda: asking(raw=[ROW + b"\0"]), "16 bytes"),
        (lambda: asking(raw=[ROW, ROW]), "one element for each of the 1 inputs"),
        (lambda: asking(shape=(HUGE, HUGE, HUGE)), "whole numbers from 1"),
        (lambda: asking(shape=(1 << 31, 1 << 31)), "more than"),
        (lambda: asking(shape=(1 << 30,), datatype="BYTES", raw=[b"\0" * 16]), "too few"),
        (lambda: asking(shape=(0, 2), raw=[b""]), "whole numbers from 1"),
        (lambda: asking(shape=(-1, 2)), "whole numbers from 1"),
        (lambda: asking(shape=()), "list of 1 to"),
        (lambda: asking("bytes", "BYTES", (1,), [b"\xff\xff\xff\x7fab"]), "ends within element 0"),
        (lambda: asking("bytes", "BYTES", (1,), [b"\x01\0\0\0abc"]), "2 bytes behind"),
        (lambda: asking(datatype="BF16", raw=[b"\0" * 4]), "BF16 is not served"),
        (lambda: asking(datatype="FP8"), "this server takes"),
        (lambda: asking(contents={"fp64_contents": [1, 2]}), "send one of them"),
        (lambda: asking(raw=(), contents={"fp64_contents": [1]}), "2 elements in 'fp64_contents'"),
        (lambda: asking(raw=(), contents={"fp32_contents": [1, 2]}), "got 'fp32_contents'"),
        (lambda: asking(raw=()), "got 0"),
        (lambda: asking(raw=(), datatype="FP16", contents={"fp32_contents": [1, 2]}), "no typed contents"),
        (lambda: asking(raw=(), datatype="INT8", contents={"int_contents": [1, 128]}), "has 128, which is no INT8"),
        (lambda: asking(raw=(), datatype="UINT16", contents={"uint_contents": [65536, 1]}), "which is no UINT16"),
        (lambda: asking(parameters={"timeout": OIP.InferParameter(string_param="soon")}), "microseconds"),
        (lambda: asking(parameters={"sequence_id": OIP.InferParameter(int64_param=7)}), "Sequences"),
        (lambda: b"\xff\xff", "inference.ModelInferRequest"),
    ],
)
async def test_a_malformed_request_is_refused_in_a_sentence_and_asks_nothing(served, request_of, words):
    status, code, details = await failure_of(call(served, request_of()))
    assert status == "INVALID_ARGUMENT"
    assert words in details
    assert served.refused == {code: 1}
    assert not served.engine.submitted


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("INT8", "int_contents"),
        ("INT16", "int_contents"),
        ("INT32", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT8", "uint_contents"),
        ("UINT16", "uint_contents"),
        ("UINT32", "uint_contents"),
        ("UINT64", "uint64_contents"),
        ("FP32", "fp32_contents"),
        ("FP64", "fp64_contents"),
    ],
)
async def test_typed_contents_are_the_same_query_as_raw_ones_and_answered_typed(served, datatype, field):
    reply = await call(served, asking(datatype=datatype, raw=(), contents={field: [1, 2]}))
    await call(served, asking())
    assert {query.row for query in served.engine.submitted} == {ROW}
    assert not reply.raw_output_contents
    assert list(reply.outputs[0].contents.fp64_contents) == [1.0, 2.0]
    assert list(reply.outputs[0].shape) == [1, 2]


async def test_typed_bytes_are_elements(served):
    reply = await call(served, asking("strings", "BYTES", raw=(), shape=(2,), contents={"bytes_contents": [b"a", b""]}))
    assert [query.row for query in served.engine.submitted] == [b"a", b""]
    assert list(reply.outputs[0].contents.bytes_contents) == [b"a", b""]


async def test_the_shorter_of_deadline_and_timeout_is_the_querys(served):
    await call(served, asking(), timeout=2.0)
    await call(served, asking(parameters={"timeout": OIP.InferParameter(int64_param=500_000)}), timeout=2.0)
    await call(served, asking(parameters={"timeout": OIP.InferParameter(int64_param=9_000_000)}), timeout=2.0)
    await call(served, asking(), timeout=None)
    first, second, third, fourth = (query.timeout_ms for query in served.engine.submitted)
    assert 0 < first < 2100  # on its way the deadline is rounded up
    assert second == 500
    assert 0 < third < 2100
    assert fourth is None


async def test_a_cancelled_call_cancels_all_its_queries(served):
    served.engine.when = "held"
    under_way = call(served, asking(shape=(3, 2), raw=[ROW * 3]))
    await until(lambda: len(served.engine.waiting) == 3)
    under_way.cancel()
    await until(lambda: len(served.engine.cancelled) == 3)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Overloaded("Full.", retry_after_s=0.25), "RESOURCE_EXHAUSTED"),
        (errors.DeadlineExceeded("Late."), "DEADLINE_EXCEEDED"),
        (errors.NoModelReady("None.", retry_after_s=1.0), "UNAVAILABLE"),
        (errors.ModelError("It raised."), "INTERNAL"),
    ],
)
async def test_an_error_of_the_engine_has_its_status_and_counts_as_no_refusal(served, error, status):
    served.engine.error = error
    assert await failure_of(call(served, asking())) == (status, error.code, error.message)
    assert not served.refused


async def test_an_unknown_model_is_not_found_and_not_ready(served):
    status, code, _ = await failure_of(call(served, asking("nobody")))
    assert (status, code) == ("NOT_FOUND", "unknown_model")
    request = OIP.ModelReadyRequest(name="nobody")
    assert not (await call(served, request, "ModelReady", "ModelReadyResponse")).ready


async def test_a_server_that_is_not_ready_is_live(served):
    served.engine.readiness = (False, "It starts.")
    assert (await call(served, OIP.ServerLiveRequest(), "ServerLive", "ServerLiveResponse")).live
    assert not (await call(served, OIP.ServerReadyRequest(), "ServerReady", "ServerReadyResponse")).ready


async def test_a_stream_answers_out_of_order_and_names_the_request_of_an_error(served):
    served.engine.when = "held"
    under_way = stream(served)
    for i in range(3):
        await under_way.write(asking(id=str(i)))
    await under_way.write(asking("nobody", id="wrong"))
    refusal = await under_way.read()
    assert "nobody" in refusal.error_message
    assert refusal.infer_response.id == "wrong"
    assert len(served.engine.waiting) == 3
    served.engine.release_all(last_first=True)
    assert [(await under_way.read()).infer_response.id for _ in range(3)] == ["2", "1", "0"]
    under_way.cancel()


async def test_a_cancelled_stream_cancels_all_its_queries(served):
    served.engine.when = "held"
    under_way = stream(served)
    await under_way.write(asking(shape=(3, 2), raw=[ROW * 3]))
    await under_way.write(asking())
    await until(lambda: len(served.engine.waiting) == 4)
    under_way.cancel()
    await until(lambda: len(served.engine.cancelled) == 4)


async def test_a_server_that_stops_answers_what_a_stream_has_asked(served):
    served.engine.when = "held"
    under_way = stream(served)
    await under_way.write(asking(id="last"))
    await until(lambda: served.engine.waiting)
    stopping = asyncio.create_task(served.server.stop(5.0))
    await asyncio.sleep(0)
    served.engine.release_all()
    assert (await under_way.read()).infer_response.id == "last"
    assert (await under_way.code()).name == "UNAVAILABLE"
    await stopping


SIZES = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=18)
DATATYPES = st.sampled_from(["BOOL", "INT8", "UINT64", "FP16", "FP32", "FP64", "BYTES", "BF16", ""])


@given(sizes=SIZES, datatype=DATATYPES, raw=st.lists(st.binary(max_size=64), max_size=2))
def test_any_shape_and_any_bytes_are_tensors_or_a_refusal(sizes, datatype, raw):
    try:
        tensors = tensors_of(asking(datatype=datatype, shape=sizes, raw=raw))
    except (errors.InvalidInput, errors.InvalidRequest):
        return
    assert tensors[0].shape == tuple(sizes)
