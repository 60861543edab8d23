"""Bodies of the Open Inference Protocol: JSON and binary say the same, and what is false is refused."""

import json
import struct
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.errors import BadRequest, InvalidInput
from clipper_container.tensors import BYTES, DATATYPES, join_elements
from clipper_frontends.oip.names import Target
from clipper_frontends.oip.request import queries_of
from clipper_frontends.rest.infer_body import MALFORMED, InferBodyReader, json_bytes_of

READER = InferBodyReader()


def target(input_type="doubles", width=None):
    app = SimpleNamespace(input_type=input_type, layout=None)
    return Target("app", "app", None, None, app, width)


def json_body(data, datatype="FP64", shape=(1, 2), **fields):
    return json.dumps(
        {"inputs": [{"name": "x", "datatype": datatype, "shape": list(shape), "data": data}], **fields}
    ).encode()


def binary_body(raw, datatype="FP64", shape=(1, 2), size=None):
    one = {"name": "x", "datatype": datatype, "shape": list(shape)}
    one["parameters"] = {"binary_data_size": len(raw) if size is None else size}
    head = json.dumps({"inputs": [one]}).encode()
    return head + raw, len(head)


def rows(body, json_bytes=None, **options):
    return [query.row for query in queries_of(READER.read(body, json_bytes), target(**options), 0.0)]


def outcome(*args, **options):
    """The rows, or that there are none."""
    try:
        return rows(*args, **options)
    except BadRequest as error:
        return type(error).__name__


def numbers_of(datatype):
    dtype = np.dtype(DATATYPES[datatype])
    if dtype.kind == "f":
        return st.floats(width=dtype.itemsize * 8, allow_nan=False, allow_infinity=False)
    bounds = np.iinfo(dtype)
    return st.integers(int(bounds.min), int(bounds.max))


@st.composite
def tensors(draw):
    datatype = draw(st.sampled_from(sorted(set(DATATYPES) - {"BOOL"})))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    return np.array(
        [[draw(numbers_of(datatype)) for _ in range(shape[1])] for _ in range(shape[0])], DATATYPES[datatype]
    ), datatype


@given(tensors(), st.sampled_from(["doubles", "floats", "integers"]), st.booleans())
def test_json_and_binary_make_the_same_rows_or_are_refused_alike(tensor, input_type, nested):
    array, datatype = tensor
    data = array.tolist() if nested else array.ravel().tolist()
    by_json = outcome(json_body(data, datatype, array.shape), input_type=input_type)
    by_binary = outcome(*binary_body(array.tobytes(), datatype, array.shape), input_type=input_type)
    assert by_json == by_binary


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5),
    st.sampled_from(["strings", "bytes", "json"]),
)
def test_elements_of_text_make_the_same_rows_in_json_and_binary(words, input_type):
    by_json = outcome(json_body(words, BYTES, [len(words)]), input_type=input_type)
    raw = join_elements([word.encode() for word in words])
    by_binary = outcome(*binary_body(raw, BYTES, [len(words)]), input_type=input_type)
    assert by_json == by_binary


@given(st.binary(max_size=60), st.one_of(st.none(), st.integers(-1, 80)))
def test_whatever_comes_is_read_or_refused_with_a_sentence(body, json_bytes):
    try:
        READER.read(body, json_bytes)
    except BadRequest as error:
        assert error.message.endswith((".", "..."))  # noqa: PT017  # what is not refused is fine as well


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=8,
    ),
    st.sampled_from(["name", "datatype", "shape", "data", "parameters"]),
)
def test_a_field_of_any_other_kind_is_read_or_refused(value, field):
    one = {"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [1]} | {field: value}
    assert isinstance(outcome(json.dumps({"inputs": [one]}).encode()), str | list)


@pytest.mark.parametrize(
    ("body", "json_bytes", "sentence"),
    [
        (b"", None, "empty"),
        (b"{", None, "not valid JSON"),
        (b"[]", None, "inputs"),
        (b"{}", None, "inputs"),
        (b'{"inputs":[]}', None, "takes one input tensor, got 0"),
        (b"{}", 3, "from 1 to 2"),
        (b"{}", 0, "from 1 to 2"),
        (b"{}", MALFORMED, "from 1 to 2"),
        (json_body([1, 2], "BF16"), None, "BF16 is not served"),
        (json_body([1, 2], "FP63"), None, "takes BOOL, INT8"),
        (json_body([1, 2], shape=[]), None, "list of 1 to 16 sizes"),
        (json_body([1, 2], shape=[1, -2]), None, "whole numbers from 1"),
        (json_body([1, 2], shape=[0, 2]), None, "whole numbers from 1"),
        (json_body([1, 2], shape=[2**31, 2**31, 2**31]), None, "more than"),
        (json_body([1, 2], shape=[2**80]), None, "whole numbers from 1"),
        (json_body([1, 2, 3]), None, "must have 2 elements"),
        (json_body([[1], [2]]), None, "in dimension 0 a list of 1"),
        (json_body([1, None]), None, "must be numbers"),
        (json_body([1, 2.5], "INT8"), None, "whole numbers for INT8"),
        (json_body([1, 128], "INT8"), None, "out of the range of INT8"),
        (json_body([1, 10**30], "INT64"), None, "out of the range of INT64"),
        (json_body([1, 1e39], "FP32"), None, "out of the range of FP32"),
        (json_body([1, -1], "UINT8"), None, "out of the range of UINT8"),
        (json_body([1, 2], "BYTES", [2]), None, "BYTES"),
        (json_body([1, 2], shape=[2]), None, "shape [batch, numbers]"),
        (json_body([1, 2], parameters={"timeout": -1}), None, "microseconds"),
        (json_body([1, 2], id="i" * 2000), None, "at most 1024"),
        (binary_body(b"")[0], None, "Inference-Header-Content-Length"),
        (*binary_body(bytes(15)), "must have 16 bytes"),
        (*binary_body(bytes(16), size=17), "16 are left, got 17"),
        (*binary_body(bytes(16), size=2**31), "16 are left"),
        (*binary_body(bytes(16), size=-1), "16 are left"),
        (*binary_body(bytes(24), size=16), "8 bytes that no input"),
        (*binary_body(struct.pack("<2d", 1.0, float("nan"))), "at [0, 1] must be a finite number, got nan"),
        (*binary_body(struct.pack("<I", 2**31), BYTES, [1]), "ends within element 0"),
        (*binary_body(struct.pack("<I", 1) + b"ab", BYTES, [1]), "1 bytes behind the last"),
        (*binary_body(b"\0" * 20, BYTES, [2**30]), "too few for the lengths"),
    ],
)
def test_what_is_wrong_is_named(body, json_bytes, sentence):
    with pytest.raises(BadRequest) as caught:
        rows(body, json_bytes)
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [(BYTES, [2**31], b"\0" * 20), ("FP64", [2**31, 1], b""), (BYTES, [1], struct.pack("<I", 2**31 - 1) + b"x" * 16)],
)
def test_two_gigabytes_that_are_only_claimed_take_no_memory(datatype, shape, raw):
    body, json_bytes = binary_body(raw, datatype, shape)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput):
            rows(body, json_bytes)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_tensors_of_both_forms_may_be_mixed():
    inputs = [
        {"name": "a", "datatype": "INT8", "shape": [1, 1], "data": [7]},
        {"name": "b", "datatype": "INT8", "shape": [1, 2], "parameters": {"binary_data_size": 2}},
        {"name": "c", "datatype": "INT8", "shape": [1, 1], "parameters": {"binary_data_size": 1}},
    ]
    head = json.dumps({"inputs": inputs}).encode()
    request = READER.read(head + b"\1\2\3", len(head))
    assert [bytes(tensor.data) for tensor in request.inputs] == [b"\7", b"\1\2", b"\3"]


@pytest.mark.parametrize(
    ("value", "length"),
    [(b"12", 12), (b" 12 ", 12), (b"", MALFORMED), (b"-1", MALFORMED), (b"1e3", MALFORMED), (b"9" * 40, MALFORMED)],
)
def test_the_header_is_a_length_or_malformed(value, length):
    assert json_bytes_of([(b"Host", b"x"), (b"Inference-Header-Content-Length", value)]) == length
    assert json_bytes_of([(b"host", b"x")]) is None
