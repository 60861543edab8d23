"""What is read or written by a short way is what the general way would have made of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_oip_body import binary_body, json_body, target

from clipper.engine.answer import Answer
from clipper.errors import BadRequest
from clipper_frontends.oip.json_data import JsonDataReader
from clipper_frontends.oip.request import InferRequest
from clipper_frontends.oip.response import response_of
from clipper_frontends.rest.infer_body import InferBodyReader
from clipper_frontends.rest.infer_frames import MAX_FRAMES, InferFrames
from clipper_frontends.rest.infer_reply import plain_reply, reply_of_response


def shown(reader, body, json_bytes=None):
    """Everything about a request, or its error."""
    try:
        request = reader.read(body, json_bytes)
    except BadRequest as error:
        return error.message
    tensors = [(one.name, one.datatype, one.shape, bytes(memoryview(one.data))) for one in request.inputs]
    return tensors, request.id, request.parameters, list(request.outputs)


ANYTHING = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3), st.lists(st.integers(), max_size=2)
)


@given(st.lists(ANYTHING, max_size=4), st.sampled_from(["INT8", "UINT64", "INT64", "FP16", "FP32", "FP64"]))
def test_other_numbers_in_a_known_frame_are_read_as_if_it_were_new(data, datatype):
    reader = InferBodyReader()
    reader.read(json_body([7, 8], datatype, id="i", parameters={"timeout": 5}), None)
    body = json_body(data, datatype, id="i", parameters={"timeout": 5})
    assert shown(reader, body) == shown(InferBodyReader(), body)


@given(st.binary(min_size=14, max_size=18))
def test_other_bytes_behind_a_known_head_are_read_as_if_it_were_new(raw):
    reader = InferBodyReader()
    known, json_bytes = binary_body(bytes(16))
    reader.read(known, json_bytes)
    body = known[:json_bytes] + raw
    assert shown(reader, body, json_bytes) == shown(InferBodyReader(), body, json_bytes)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # The list behind the first "data" is the shape: other lists there are other shapes.
        (
            b'{"inputs":[{"name":"data","shape":[1,2],"datatype":"INT8","data":[1,2]}]}',
            b'{"inputs":[{"name":"data","shape":[2,1],"datatype":"INT8","data":[1,2]}]}',
        ),
        (
            b'{"inputs":[{"name":"data","shape":[1,2],"datatype":"INT8","data":[3,4]}]}',
            b'{"inputs":[{"name":"data","shape":[2,1],"datatype":"INT8","data":[3,4]}]}',
        ),
        # Of a field that comes twice the last one counts.
        (
            b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"INT8","data":[1],"data":[1]}]}',
            b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"INT8","data":[2],"data":[1]}]}',
        ),
    ],
)
def test_a_list_that_is_not_the_data_is_no_part_of_a_frame(first, second):
    reader = InferBodyReader()
    reader.read(first, None)
    assert shown(reader, second) == shown(InferBodyReader(), second)


def test_frames_are_learned_for_numbers_only_and_bounded_in_memory():
    frames, reader = InferFrames(JsonDataReader()), InferBodyReader()
    for i in range(MAX_FRAMES + 1):
        body = json_body([7, 8], id=str(i))
        frames.learn_json(body, b"[7, 8]", reader.read(body, None))
    assert frames.read_json(json_body([3, 4], id=str(MAX_FRAMES))) is not None
    assert frames.read_json(json_body([3, 4], id="0")) is None
    long = json_body([7, 8], id="i" * 1000, parameters={"uid": "u" * 2000})
    frames.learn_json(long, b"[7, 8]", reader.read(long, None))
    assert frames.read_json(long) is None
    words = json_body(["a"], "BYTES", [1])
    frames.learn_json(words, b'["a"]', reader.read(words, None))
    assert frames.read_json(words) is None


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.none(), st.booleans()))
def test_a_plain_reply_says_what_the_general_one_does(output):
    request, answers = InferRequest(()), [Answer("q-1", json.dumps(output).encode())]
    plain = plain_reply(request, target(), answers)
    if plain is not None:
        assert json.loads(plain.body) == json.loads(
            reply_of_response(response_of(request, target(), answers), request).body
        )


@pytest.mark.parametrize(
    ("output", "is_plain"), [(b"-3", True), (b"0.25", True), (b"1e5", False), (b'"3"', False), (b"[1]", False)]
)
def test_one_number_is_a_plain_reply(output, is_plain):
    assert (plain_reply(InferRequest(()), target(), [Answer("q", output)]) is not None) is is_plain
