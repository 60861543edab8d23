"""Whatever sizes, shapes and lengths are claimed: a refusal with a sentence, no memory, and the connection goes on.

Requests are true but for what a strategy lies about, so that each lie comes as far into the server as it can.
"""

import asyncio
import json
import struct
import tracemalloc
from contextlib import contextmanager

import pytest
import pytest_asyncio
from grpc_served import ServedGrpc, failure_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rest_fakes import FakeApplication, FakeEngine
from rest_wire import bounded, request
from test_grpc_infer import asking, call, stream

from clipper_container.tensors import BYTES, DATATYPES

MOST_BYTES = 1 << 20
"""What one request of a few hundred bytes may take at most while it is read, answered and received."""
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
APPLICATIONS = ("doubles", "integers", "strings", "bytes", "json")
ROW = struct.pack("<2d", 1.0, 2.0)

HUGE = st.sampled_from([-1, 0, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1])
SHAPES = st.lists(st.integers(0, 4) | HUGE, max_size=18)
NAMES = st.sampled_from([*DATATYPES, BYTES, "BF16", "", "fp64"])
LENGTHS = st.sampled_from([0, 1, 4, 7, 2**16, 2**31 - 1, 2**31, 2**32 - 1])
ELEMENTS = st.lists(st.tuples(LENGTHS, st.binary(max_size=8)), max_size=5).map(
    lambda elements: b"".join(struct.pack("<I", length) + data for length, data in elements)
)
RAW = st.binary(max_size=64) | ELEMENTS | st.just(ROW)


@contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def applications():
    return {kind: FakeApplication(kind, kind) for kind in APPLICATIONS} | {"digits": FakeApplication()}


def infer(app, inputs, raw=b"", json_bytes=None):
    head = json.dumps({"inputs": inputs}).encode()
    length = len(head) if json_bytes is None else json_bytes
    headers = (f"Inference-Header-Content-Length: {length}",)
    return request(f"/v2/models/{app}/infer", head + raw, headers=headers)


GOOD = infer(
    "doubles", [{"name": "x", "datatype": "FP64", "shape": [1, 2], "parameters": {"binary_data_size": 16}}], ROW
)


@st.composite
def requests(draw):
    """A request with binary tensors, and up to all of its numbers false."""
    inputs, raws = [], []
    for index in range(draw(st.integers(1, 3))):
        raw = draw(RAW)
        size = draw(st.just(len(raw)) | HUGE | st.integers(0, 80))
        shape = draw(SHAPES)
        inputs.append({"name": f"x{index}", "datatype": draw(NAMES), "shape": shape})
        inputs[-1]["parameters"] = {"binary_data_size": size}
        raws.append(raw)
    json_bytes = draw(st.none() | st.integers(-2, 300) | HUGE)
    return infer(draw(st.sampled_from(APPLICATIONS)), inputs, b"".join(raws), json_bytes)


@pytest_asyncio.fixture
async def wire_of(serve):
    """A connection to a server of each road, kept over all examples: none of them may break it."""
    wires = {}

    async def get(fast):
        if fast not in wires:
            wires[fast] = await (await serve(engine=FakeEngine("soon", applications()), fast=fast)).connect()
        return wires[fast]

    return get


@FUZZ
@given(lying=requests(), fast=st.booleans())
@example(lying=GOOD, fast=True)
async def test_binary_requests_that_lie_are_refused_and_the_connection_goes_on(wire_of, lying, fast):
    wire = await wire_of(fast)
    with little_memory():
        wire.send(lying)
        received = await bounded(wire.receive())
    assert received.status in {200, 400}
    if received.status == 400:
        assert received.json()["error"].endswith((".", "..."))
        assert "Traceback" not in received.json()["error"]
    wire.send(GOOD)
    assert (await bounded(wire.receive())).status == 200


@FUZZ
@given(head=st.binary(max_size=60), raw=RAW, json_bytes=st.integers(-2, 130) | HUGE, fast=st.booleans())
async def test_what_is_no_request_at_all_is_refused_and_the_connection_goes_on(wire_of, head, raw, json_bytes, fast):
    wire = await wire_of(fast)
    headers = (f"Inference-Header-Content-Length: {json_bytes}",)
    with little_memory():
        wire.send(request("/v2/models/doubles/infer", head + raw, headers=headers))
        received = await bounded(wire.receive())
    assert received.status == 400
    wire.send(GOOD)
    assert (await bounded(wire.receive())).status == 200


@pytest_asyncio.fixture
async def by_grpc():
    one = await ServedGrpc(FakeEngine("soon", applications())).start()
    yield one
    await one.stop()


@st.composite
def messages(draw):
    """A message of any datatypes, shapes and contents: raw, typed, both or neither."""
    shape = [size - 2**63 if size >= 2**63 else size for size in draw(SHAPES)]
    contents = draw(
        st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "bool_contents": st.lists(st.booleans(), max_size=3),
                "int_contents": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
                "uint64_contents": st.lists(st.integers(0, 2**64 - 1), max_size=3),
                "fp32_contents": st.lists(st.floats(width=32), max_size=3),
                "fp64_contents": st.lists(st.floats(), max_size=3),
                "bytes_contents": st.lists(st.binary(max_size=4), max_size=3),
            },
        )
    )
    raw = draw(st.lists(RAW, max_size=3))
    return asking(draw(st.sampled_from(APPLICATIONS)), draw(NAMES), shape, raw, contents=contents)


async def status_of(calling):
    try:
        await calling
    except Exception:  # noqa: BLE001  # failure_of tells which
        return await failure_of(calling)
    return "OK", None, ""


@FUZZ
@given(lying=messages())
async def test_messages_that_lie_are_refused_and_the_channel_goes_on(by_grpc, lying):
    with little_memory():
        status, code, details = await bounded(status_of(call(by_grpc, lying)))
    assert status in {"OK", "INVALID_ARGUMENT"}
    assert status == "OK" or (code in {"invalid_input", "invalid_request", "invalid_json"} and details.endswith("."))
    assert await bounded(call(by_grpc, asking()))


@FUZZ
@given(cut=st.integers(0, 80), edits=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=4), data=RAW)
async def test_damaged_messages_are_refused_or_read_and_the_channel_goes_on(by_grpc, cut, edits, data):
    damaged = bytearray(asking(raw=[data], id="id").SerializeToString())
    for position, value in edits:
        damaged[position % len(damaged)] = value
    with little_memory():
        status, _, details = await bounded(status_of(call(by_grpc, bytes(damaged[: cut or None]))))
    assert status in {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}
    assert "Traceback" not in details
    assert await bounded(call(by_grpc, asking()))


@pytest.mark.parametrize(
    "claim",
    [
        b"\x3a\xff\xff\xff\xff\x07" + b"x" * 14,  # raw_input_contents: 2 GB in 20 bytes
        b"\x2a\xff\xff\xff\xff\x07" + b"x" * 14,  # inputs: the same
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # model_name: 2^63
        b"\x3b" * 200,  # groups within groups
    ],
)
async def test_lengths_that_a_message_only_claims_take_no_memory(by_grpc, claim):
    with little_memory():
        status, _, details = await failure_of(call(by_grpc, claim))
    assert (status, details) == ("INVALID_ARGUMENT", "The request is no message of type inference.ModelInferRequest.")
    assert await call(by_grpc, asking())


async def test_a_shape_of_a_million_sizes_is_refused_without_being_looked_through(by_grpc):
    status, _, details = await failure_of(call(by_grpc, asking(shape=[1] * 1_000_000)))
    assert status == "INVALID_ARGUMENT"
    assert len(details) < 1000
    assert "list of 1 to 16 sizes" in details


async def test_a_lie_in_a_stream_harms_no_other_request_of_it(by_grpc):
    under_way = stream(by_grpc)
    await under_way.write(asking(shape=(1 << 31, 1 << 31), id="lie"))
    await under_way.write(asking("bytes", "BYTES", (1,), [struct.pack("<I", 2**31) + b"x" * 16], id="lie"))
    await under_way.write(asking(id="true"))
    await under_way.done_writing()
    replies = [reply async for reply in under_way]
    assert sorted((reply.infer_response.id, bool(reply.error_message)) for reply in replies) == [
        ("lie", True),
        ("lie", True),
        ("true", False),
    ]
    assert (await asyncio.wait_for(under_way.code(), 5)).name == "OK"
