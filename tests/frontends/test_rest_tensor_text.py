"""Tensors in JSON: the fast way and the general one make the same row, or refuse with the same words."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clipper.errors import InvalidInput, InvalidJson
from clipper.inputs import encode_input
from clipper_container.layout import Layout
from clipper_container.wire import TensorSpec
from clipper_frontends.rest.rows import RowReader

SINGLE = Layout([TensorSpec("INT16", "", [2, 3])])
NAMED = Layout([TensorSpec("FP32", "x", [2, 2]), TensorSpec("UINT8", "y", [1]), TensorSpec("BYTES", "z", [])])

leaves = st.one_of(
    st.integers(-40_000, 40_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text("[],1", max_size=3),
)
nested = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=8)
matrices = st.integers(1, 3).flatmap(
    lambda n: st.lists(st.lists(st.integers(-40_000, 40_000), min_size=n, max_size=n), min_size=1, max_size=3)
)


def read(text, layout):
    return RowReader().read(text.encode(), SimpleNamespace(input_type="tensors", input_width=None, layout=layout), "x")


def outcome(call):
    try:
        return call()
    except InvalidInput as error:
        return error.message


def both_ways(value, layout):
    text = json.dumps(value)
    fast = outcome(lambda: read(text, layout))
    assert fast == outcome(lambda: encode_input("tensors", json.loads(text), field="x", layout=layout))
    return fast


@given(st.one_of(matrices, nested))
@example([[1, 2, 3], [4, 5, 6]])
@example([[1, 2], [3, 4], [5, 6]])
@example([[1, 2, 3, 4], [5, 6]])
@example([1, 2, 3, 4, 5, 6])
@example([["[1", 2, 3], [4, 5, 6]])
@example([[1, 2, 3.0], [4, 5, 6.5]])
@example([[1, 2, 32768], [4, 5, 6]])
@example("[[1,2,3],[4,5,6]]")
@example({"x": [[1, 2, 3], [4, 5, 6]]})
def test_a_tensor_without_a_name(value):
    both_ways(value, SINGLE)


@given(st.dictionaries(st.sampled_from(["x", "y", "z", "w"]), st.one_of(matrices, nested)))
@example({"x": [[1, 2], [3, 4]], "y": [255], "z": "a"})
@example({"x": [[1, 2], [3, 4e39]], "y": [255], "z": "a"})
@example({"x": [[1, 2], [3, 4]], "y": [256], "z": "a"})
@example({"x": "[[1,2],[3,4]]", "y": {"": [1]}, "z": "a"})
def test_tensors_by_name(value):
    both_ways(value, NAMED)


def test_the_rows_are_the_numbers():
    assert read("[[1,2,3],[4,5,6]]", SINGLE) == b"\1\0\2\0\3\0\4\0\5\0\6\0"
    assert both_ways({"z": "a", "y": [7], "x": [[0, 0], [0, 0]]}, NAMED) == b"\0" * 16 + b"\7" + b"\1\0\0\0a"


@pytest.mark.parametrize("text", ["[[1,2,3],[4,5,6]", "[[1,2,3],[4,5 6]]", "[[1,2,3],[4,5,6]]]", '{"x": 1', ""])
def test_what_is_not_json_is_said_to_be_none(text):
    for layout in (SINGLE, NAMED):
        with pytest.raises(InvalidJson):
            read(text, layout)
