import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.errors import InvalidInput
from clipper.inputs import decode_input, encode_input

F32_MAX = float(np.finfo(np.float32).max)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=1))
def test_doubles_are_little_endian_and_come_back(values):
    row = encode_input("doubles", values)
    assert row == struct.pack(f"<{len(values)}d", *values)
    assert decode_input("doubles", row) == values


@given(st.lists(st.floats(-F32_MAX, F32_MAX, width=32), min_size=1))
def test_floats_come_back(values):
    assert decode_input("floats", encode_input("floats", values)) == values


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_integers_come_back(values):
    row = encode_input("integers", values)
    assert row == struct.pack(f"<{len(values)}i", *values)
    assert decode_input("integers", row) == values


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_come_back(value):
    assert decode_input("strings", encode_input("strings", value)) == value


@given(st.binary())
def test_bytes_come_back(value):
    assert decode_input("bytes", encode_input("bytes", value)) == value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | FINITE
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=8,
)


@given(JSON)
def test_json_comes_back(value):
    assert decode_input("json", encode_input("json", value)) == value


def test_json_is_canonical():
    assert (
        encode_input("json", {"b": 1, "a": [1, 2]})
        == encode_input("json", {"a": [1, 2], "b": 1})
        == b'{"a":[1,2],"b":1}'
    )


@given(st.lists(FINITE, min_size=1))
def test_an_array_encodes_as_the_list_of_its_numbers(values):
    assert encode_input("doubles", np.array(values)) == encode_input("doubles", values)


@pytest.mark.parametrize("dtype", ["i8", "i4", "u2", "f4", "f8", ">f8"])
@pytest.mark.parametrize("input_type", ["doubles", "floats", "integers"])
def test_arrays_of_any_number_type_are_taken(dtype, input_type):
    assert decode_input(input_type, encode_input(input_type, np.array([1, 2, 3], dtype))) == [1, 2, 3]


def test_numbers_of_numpy_in_a_list_are_numbers():
    assert decode_input("doubles", encode_input("doubles", [np.float32(0.5), np.int64(2)])) == [0.5, 2.0]


def test_whole_floats_are_integers():
    assert decode_input("integers", encode_input("integers", [1.0, -2.0])) == [1, -2]


def test_integers_are_doubles():
    assert decode_input("doubles", encode_input("doubles", [1, 2])) == [1.0, 2.0]


def test_negative_zero_keeps_its_sign():
    assert math.copysign(1, decode_input("doubles", encode_input("doubles", [-0.0]))[0]) == -1


@pytest.mark.parametrize(
    ("input_type", "value", "sentence"),
    [
        ("doubles", [], "input must have at least one number, got an empty list."),
        ("doubles", 3, "input must be a list of numbers, got 3."),
        ("doubles", "abc", 'input must be a list of numbers, got "abc".'),
        ("doubles", [1, True], "input[1] must be a number, got true."),
        ("doubles", [1, None], "input[1] must be a number, got null."),
        ("doubles", [1, "2"], 'input[1] must be a number, got "2".'),
        ("doubles", [[1], [2]], "input[0] must be a number, got [1]."),
        ("doubles", [math.nan], "input[0] must be a finite 64-bit number, got NaN."),
        ("doubles", [1, -math.inf], "input[1] must be a finite 64-bit number, got -Infinity."),
        (
            "doubles",
            [10**400],
            "input[0] must be a finite 64-bit number, got 1000000000000000000000000000000000000000....",
        ),
        ("floats", [1e39], "input[0] must be a finite number within the 32-bit range of +-3.40282e+38, got 1e+39."),
        ("integers", [1.5], "input[0] must be a whole number from -2147483648 to 2147483647, got 1.5."),
        ("integers", [2**31], "input[0] must be a whole number from -2147483648 to 2147483647, got 2147483648."),
        ("integers", [math.inf], "input[0] must be a whole number from -2147483648 to 2147483647, got Infinity."),
        ("doubles", np.array([[1.0]]), "input must be a 1-D array of numbers, got 2 dimensions of float64."),
        ("doubles", np.array([True]), "input must be a 1-D array of numbers, got 1 dimensions of bool."),
        ("doubles", np.array([1.0, math.nan]), "input[1] must be a finite 64-bit number, got NaN."),
        ("strings", 1, "input must be a string, got 1."),
        ("strings", "\ud800", "input must be text that UTF-8 can encode; it has a lone surrogate."),
        ("bytes", "abc", 'input must be bytes, got "abc".'),
        ("json", {"a": math.nan}, "input must be a JSON value: Out of range float values are not JSON compliant."),
    ],
)
def test_what_is_refused_is_named(input_type, value, sentence):
    with pytest.raises(InvalidInput) as refusal:
        encode_input(input_type, value)
    assert refusal.value.message == sentence


def test_a_json_value_that_refers_to_itself_is_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(InvalidInput):
        encode_input("json", loop)


def test_another_width_is_refused_with_both_numbers():
    with pytest.raises(InvalidInput, match=r"input_batch\[2\] must have 3 numbers, got 2\."):
        encode_input("floats", [1, 2], 3, field="input_batch[2]")
