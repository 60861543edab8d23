"""Tensors to rows and back: what a model gets is what was sent, whatever the batch; and what is copied."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper_container.layout import Layout
from clipper_container.tensor_rows import FixedTensorRows, tensor_rows_of
from clipper_container.tensor_values import decode_tensors, encode_tensors
from clipper_container.tensors import BYTES, DATATYPES, FREE, MalformedTensor, join_elements, split_elements
from clipper_container.wire import HEADER, TensorSpec, decode_batch, encode_batch

ELEMENTS = {
    "BOOL": st.booleans(),
    "FP16": st.integers(-2048, 2048).map(float),
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "FP64": st.floats(allow_nan=False, allow_infinity=False),
    BYTES: st.text(max_size=4),
}


def elements_of(datatype):
    if datatype in ELEMENTS:
        return ELEMENTS[datatype]
    bounds = np.iinfo(DATATYPES[datatype])
    return st.integers(int(bounds.min), int(bounds.max))


@st.composite
def layouts_and_queries(draw):
    """A layout, and the values of some queries as nested lists by name."""
    count = draw(st.integers(1, 3))
    specs = [
        TensorSpec(
            draw(st.sampled_from([*DATATYPES, BYTES])),
            f"t{i}",
            draw(st.lists(st.sampled_from([FREE, 1, 2, 3]), max_size=3)),
        )
        for i in range(count)
    ]
    queries = [{spec.name: draw(values_of(spec)) for spec in specs} for _ in range(draw(st.integers(1, 5)))]
    return Layout(specs), queries


@st.composite
def values_of(draw, spec):
    sizes = [draw(st.integers(1, 3)) if size == FREE else size for size in spec.shape]

    def nested(level):
        if level == len(sizes):
            return draw(elements_of(spec.datatype))
        return [nested(level + 1) for _ in range(sizes[level])]

    return nested(0)


def batch_of(rows):
    return decode_batch(bytearray(encode_batch(0, "tensors", rows, [0.0] * len(rows))[HEADER.size :]))


def as_sent(array):
    """Bytes as text, as they were given."""
    return [as_sent(part) for part in array] if isinstance(array, list) else _text(array)


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


@given(layouts_and_queries())
def test_a_query_survives_its_row(both):
    layout, queries = both
    for query in queries:
        row = encode_tensors(layout, query)
        assert decode_tensors(layout, row) == query
        assert layout.row_bytes in {None, len(row)}


@given(layouts_and_queries())
def test_a_model_gets_each_group_of_one_shape_as_arrays_of_the_right_type(both):
    layout, queries = both
    rows = tensor_rows_of(batch_of([encode_tensors(layout, query) for query in queries]), layout)
    seen = []
    groups = rows.groups()
    for group in groups:
        tensors = rows.whole() if len(groups) == 1 else rows.take(group)
        again = rows.take(group)
        for spec in layout.tensors:
            array = tensors[spec.name]
            assert array.dtype == (object if spec.datatype == BYTES else DATATYPES[spec.datatype])
            assert array.flags.c_contiguous
            assert as_sent(array.tolist()) == [queries[i][spec.name] for i in group]
            assert again[spec.name].tolist() == array.tolist()
            seen.append((spec.name, array.shape[1:]))
    assert sorted(i for group in groups for i in group) == list(range(len(queries)))
    if BYTES not in {spec.datatype for spec in layout.tensors}:
        assert len(seen) == len(layout.tensors) * len(groups)


def test_one_tensor_of_a_fixed_shape_is_the_receive_buffer_itself():
    layout = Layout([TensorSpec("FP32", "", [2, 3])])
    rows = [encode_tensors(layout, np.full((2, 3), i, "f4")) for i in range(4)]
    frame = bytearray(encode_batch(0, "tensors", rows, [0.0] * 4)[HEADER.size :])
    array = tensor_rows_of(decode_batch(frame), layout).whole()
    assert np.shares_memory(array, np.frombuffer(frame, np.uint8))
    assert (array.shape, array[:, 1, 2].tolist()) == ((4, 2, 3), [0, 1, 2, 3])
    assert array.flags.writeable


def test_what_a_model_writes_to_its_input_is_not_in_the_rows_that_run_again():
    layout = Layout([TensorSpec("INT64", "a", [2]), TensorSpec("INT8", "b", [])])
    rows = [encode_tensors(layout, {"a": [i, i], "b": i}) for i in range(3)]
    batch = tensor_rows_of(batch_of(rows), layout)
    assert isinstance(batch, FixedTensorRows)
    whole = batch.whole()
    whole["a"][:] = 9
    whole["b"][:] = 9
    assert batch.take([2, 0])["a"].tolist() == [[2, 2], [0, 0]]
    assert batch.take([1])["b"].tolist() == [1]


def test_arrays_are_taken_as_they_are():
    layout = Layout([TensorSpec("INT32", "", [FREE])])
    assert decode_tensors(layout, encode_tensors(layout, np.array([1, 2], "<i4"))) == [1, 2]
    assert decode_tensors(layout, encode_tensors(layout, np.array([1.0, 2.0]))) == [1, 2]
    assert decode_tensors(layout, encode_tensors(layout, {"": [3.0]})) == [3]


@pytest.mark.parametrize(
    ("spec", "value", "sentence"),
    [
        (("FP32", [2]), [1.0], "must have the shape [2]: a list of 2 was expected, a list of 1 came"),
        (("FP32", [2]), 1.0, "must have the shape [2]: a list of 2 was expected, 1.0 came"),
        (("FP32", [FREE]), [], "a list that is not empty was expected"),
        (("FP32", [2, FREE]), [[1.0], [1.0, 2.0]], "a list of 1 was expected, a list of 2 came"),
        (("FP32", [1]), [float("nan")], "must have a number from -3.40282e+38 to 3.40282e+38 at [0]"),
        (("FP64", [1]), [float("inf")], "must have finite numbers"),
        (("FP64", [1]), [10**400], "that no 64-bit float can hold"),
        (("UINT8", [1]), [256], "must have a whole number from 0 to 255 at [0] (UINT8), got 256"),
        (("INT64", [2]), [1, 0.5], "must have a whole number"),
        (("INT64", []), True, "must have a number at [0], got True"),
        (("BOOL", []), 1, "must have true or false at [0], got 1"),
        (("BYTES", []), 1, "must have a string at [0], got 1"),
        (("BYTES", []), "\ud800", "has a lone surrogate at [0]"),
        (("INT8", [2]), np.zeros((2, 2), "i1"), "must have the shape [2], got [2, 2]"),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_a_sentence(spec, value, sentence):
    with pytest.raises(MalformedTensor) as refused:
        encode_tensors(Layout([TensorSpec(spec[0], "", spec[1])]), value)
    assert sentence in str(refused.value)


def test_names_are_those_of_the_layout():
    layout = Layout([TensorSpec("INT8", "a"), TensorSpec("INT8", "b")])
    for value, sentence in [({"a": 1}, "takes a, b; a came"), ([1, 2], "must be an object with the tensors a, b")]:
        with pytest.raises(MalformedTensor, match=sentence):
            encode_tensors(layout, value)


@given(st.lists(st.binary(max_size=6), max_size=6), st.integers(0, 8))
def test_elements_of_bytes_are_split_where_they_were_joined_or_refused(elements, count):
    data = join_elements(elements)
    if count == len(elements):
        assert split_elements(data, count) == elements
    else:
        with pytest.raises(MalformedTensor):
            split_elements(data, count)


@given(st.binary(max_size=40), st.integers(0, 1 << 31))
def test_lengths_that_are_not_true_take_no_memory(data, count):
    try:
        elements = split_elements(data, count)
    except MalformedTensor:
        return
    assert sum(map(len, elements)) + 4 * len(elements) == len(data)


def test_a_definition_that_cannot_be_served_is_refused():
    with pytest.raises(ValueError, match="has the unknown datatype 'BF16'"):
        Layout([TensorSpec("BF16", "x", [1])])
    with pytest.raises(ValueError, match="needs tensors"):
        Layout([])


def test_rows_are_what_the_protocol_document_says():
    layout = Layout([TensorSpec("INT16", "a", [FREE]), TensorSpec(BYTES, "b", [FREE])])
    row = encode_tensors(layout, json.loads('{"b": ["xy"], "a": [1, 2]}'))
    assert row == b"\2\0\0\0\1\0\0\0" + b"\1\0\2\0" + b"\2\0\0\0xy"
