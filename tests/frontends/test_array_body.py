"""Arrays behind the JSON of a prediction request mean what their numbers in JSON mean, or are refused alike."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rest_fakes import FakeApplication

from clipper.domain import Query
from clipper.errors import BadRequest, ClipperError, InvalidInput, InvalidJson, InvalidRequest
from clipper_container.tensors import DATATYPES
from clipper_frontends.rest.array_body import decode_array_body
from clipper_frontends.rest.body import decode_body
from clipper_frontends.rest.rows import RowReader

READER = RowReader()
NAMES = {np.dtype(dtype): name for name, dtype in DATATYPES.items() if name != "BOOL"}


def described(array):
    return {"datatype": NAMES[array.dtype], "shape": list(array.shape)}


def decode(fields, memory, app=None):
    head = json.dumps(fields).encode()
    return decode_array_body(head + memory, len(head), app or FakeApplication(), 12.5)


def outcome(read, *arguments):
    try:
        return read(*arguments)
    except ClipperError as error:
        return error.code


def test_an_input():
    fields = {"input": {"datatype": "FP64", "shape": [2]}}
    assert decode(fields, struct.pack("<2d", 1, 2.5)) == Query("digits", struct.pack("<2d", 1, 2.5), 12.5)


def test_a_batch_of_one_is_a_batch():
    (query,) = decode({"input_batch": {"datatype": "FP64", "shape": [1, 2]}}, struct.pack("<2d", 1, 2))
    assert query.row == struct.pack("<2d", 1, 2)


def test_options_reach_every_query():
    options = {"uid": "u", "timeout_ms": 15, "version": 2, "explain": True}
    fields = {"input_batch": {"datatype": "FP32", "shape": [2, 1]}, **options}
    for query in decode(fields, struct.pack("<2f", 1, 2)):
        assert (query.uid, query.timeout_ms, query.version, query.explain) == ("u", 15.0, "2", True)


@given(
    arrays.arrays(
        st.sampled_from(sorted(NAMES, key=str)),
        arrays.array_shapes(min_dims=1, max_dims=3, max_side=4),
    ),
    st.sampled_from(["doubles", "floats", "integers", "strings", "bytes", "json"]),
    st.sampled_from(["input", "input_batch"]),
)
def test_an_array_is_the_same_query_as_its_numbers_in_json(array, input_type, field):
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = np.nan_to_num(array, nan=0.5, posinf=1.0, neginf=-1.0)  # JSON has none of these
    app = FakeApplication(input_type=input_type)
    head = json.dumps({field: described(array)}).encode()
    as_json = json.dumps({field: array.tolist()}).encode()
    by_json = outcome(decode_body, as_json, app, READER, 12.5)
    assert outcome(decode_array_body, head + array.tobytes(), len(head), app, 12.5) == by_json


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("input_type", ["doubles", "floats", "integers", "json"])
def test_what_json_has_no_number_for_is_refused(value, input_type):
    array = np.array([1.0, value])
    with pytest.raises(InvalidInput):
        decode({"input": described(array)}, array.tobytes(), FakeApplication(input_type=input_type))


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ([1, 2], r"input must say what the bytes behind the JSON are, as \{.*\}, got \[1, 2\]"),
        ({"datatype": "FP64"}, "must say what the bytes"),
        ({"datatype": "FP64", "shape": [2], "name": "x"}, "must say what the bytes"),
        ({"datatype": "FP64", "shape": [2.5]}, "must say what the bytes"),
        ({"datatype": "BYTES", "shape": [2]}, 'The datatype of input must be one of BOOL, FP16, .* got "BYTES"'),
        ({"datatype": "BOOL", "shape": [2]}, r"must have 2 bytes behind the JSON for BOOL \[2\], got 16 bytes"),
        ({"datatype": "FP64", "shape": []}, r"must have 8 bytes behind the JSON for FP64 \[\], got 16 bytes"),
        ({"a": {"datatype": "FP64", "shape": [1]}, "b": {"datatype": "FP64"}}, "must say what the bytes"),
        ({"a": {"datatype": "FP64", "shape": [3]}, "b": {"datatype": "INT8", "shape": [1]}}, "input.a must have 24"),
        ({"a": {"datatype": "FP64", "shape": [1]}, "b": {"datatype": "INT8", "shape": [9]}}, "input.b must .* got 8"),
        ({"datatype": "FP64", "shape": [0]}, "The shape of input"),
        ({"datatype": "FP64", "shape": [-2]}, "The shape of input"),
        ({"datatype": "FP64", "shape": [2**31, 2**31]}, "more than 2147483648 elements"),
        ({"datatype": "FP64", "shape": [2**28]}, "must have 2147483648 bytes behind the JSON"),
        ({"datatype": "FP64", "shape": [1]}, r"must have 8 bytes behind the JSON for FP64 \[1\], got 16 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(description, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        decode({"input": description}, bytes(16))


@pytest.mark.parametrize("json_bytes", [-1, 0, 10**6])
def test_a_length_that_is_none_is_refused(json_bytes):
    with pytest.raises(InvalidRequest, match="Inference-Header-Content-Length"):
        decode_array_body(b'{"input": 1}', json_bytes, FakeApplication(), 0.0)


def test_a_length_that_cuts_the_json_is_refused():
    with pytest.raises(InvalidJson):
        decode_array_body(b'{"input": {"datatype": "FP64", "shape": [1]}}' + bytes(8), 20, FakeApplication(), 0.0)


@pytest.mark.parametrize("fields", [{}, {"input": 1, "input_batch": 1}, {"inputs": 1}, {"input": 1, "timeout_ms": 0}])
def test_the_other_fields_are_those_of_any_query(fields):
    with pytest.raises(BadRequest):
        decode(fields, b"")


def test_another_width_than_the_models_is_refused_with_the_place_in_the_batch():
    with pytest.raises(InvalidInput, match=r"input_batch\[0\] must have 3 numbers, got 2"):
        decode({"input_batch": {"datatype": "FP64", "shape": [2, 2]}}, bytes(32), FakeApplication(input_width=3))


def test_a_batch_has_at_most_so_many_inputs():
    with pytest.raises(InvalidInput, match="has 16385 inputs"):
        decode({"input_batch": {"datatype": "INT8", "shape": [16385, 1]}}, bytes(16385))
