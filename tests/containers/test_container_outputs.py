"""Outputs as JSON: faithful where JSON can carry them, that row's error where it cannot."""

import json
import math
from array import array
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper_container.outputs import WrongOutputs, as_list, encode_lines
from clipper_container.wire import ItemError

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=10,
)


def encoded(values: list[Any]) -> list[bytes | ItemError]:
    lines, errors = encode_lines(values)
    items: list[bytes | ItemError] = list(lines.split(b"\n"))
    assert items.pop() == b""
    for i, error in errors:
        assert items[i] == b""
        items[i] = error
    return items


@given(st.lists(json_values, max_size=6))
def test_json_values_come_back_equal_and_of_their_type(values: list[Any]) -> None:
    fragments = encoded(values)
    back = [json.loads(fragment) for fragment in fragments if isinstance(fragment, bytes)]
    assert repr(back) == repr(json.loads(json.dumps(values)))


@pytest.mark.parametrize(
    ("outputs", "fragments"),
    [
        (np.array([1, 2]), [b"1", b"2"]),
        (np.array([1.0, 2.5]), [b"1.0", b"2.5"]),
        (np.array([0.1], dtype=np.float32), [repr(float(np.float32(0.1))).encode()]),
        (np.array([[0.25, 0.75]]), [b"[0.25,0.75]"]),
        (np.array(["cat", "dog"]), [b'"cat"', b'"dog"']),
        (np.array([True]), [b"true"]),
        ([np.int64(3), np.float64(2.5), np.bool_(1), np.str_("x")], [b"3", b"2.5", b"true", b'"x"']),
        ([np.arange(3), {"p": np.float32(0.5)}], [b"[0,1,2]", b'{"p":0.5}']),
        ((1, "a"), [b"1", b'"a"']),
        ((i for i in range(2)), [b"0", b"1"]),
        (range(2), [b"0", b"1"]),
        (array("d", [1.5]), [b"1.5"]),
        (["a\nb", None], [b'"a\\nb"', b"null"]),
        ([2**70], [str(2**70).encode()]),
        (["null", [None]], [b'"null"', b"[null]"]),
    ],
)
def test_what_models_return_becomes_json(outputs: Any, fragments: list[bytes]) -> None:
    assert encoded(as_list(outputs, len(fragments))) == fragments


class Series:
    """The face of a pandas series."""

    def __init__(self, values: list[float]) -> None:
        self._values = values

    def to_numpy(self) -> np.ndarray[Any, Any]:
        return np.array(self._values)


def test_a_series_is_taken_by_its_values() -> None:
    assert encoded(as_list(Series([1.5, 2.5]), 2)) == [b"1.5", b"2.5"]


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, np.float32("nan"), [1.0, math.nan], {"a": [math.inf]}, np.array([math.nan])]
)
def test_nan_and_infinity_are_errors_of_their_row_alone(bad: Any) -> None:
    first, second, third = encoded([1.0, bad, None])
    assert (first, third) == (b"1.0", b"null")
    assert isinstance(second, ItemError)
    assert second.code == "model_error"
    assert "NaN or Infinity" in second.message


@pytest.mark.parametrize("bad", [object(), 1j, "\ud800", {(1, 2): 3}, msgspec.Raw(b"1\n2"), msgspec.Raw(b"")])
def test_what_json_has_no_form_for_is_an_error_of_its_row_alone(bad: Any) -> None:
    first, second, third = encoded([1, bad, 3])
    assert (first, third) == (b"1", b"3")
    assert isinstance(second, ItemError)


class Exiting:
    """A value that ends the process when it is looked at."""

    def tolist(self) -> list[int]:
        raise SystemExit(3)


def test_a_value_that_exits_while_it_is_encoded_is_an_error_of_its_row_alone() -> None:
    first, second = encoded([1, Exiting()])
    assert first == b"1"
    assert isinstance(second, ItemError)
    assert "SystemExit: 3" in second.message


def test_a_value_that_contains_itself_is_an_error_of_its_row() -> None:
    loop: list[Any] = []
    loop.append(loop)
    first, second = encoded([1, loop])
    assert first == b"1"
    assert isinstance(second, ItemError)


def forever() -> Iterator[int]:
    while True:
        yield 1


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ([1], "returned 1 outputs for 2 rows"),
        ([1, 2, 3, 4], "returned 4 outputs for 2 rows"),
        ((1, 2, 3, 4), "returned 4 outputs for 2 rows"),
        (np.zeros((5, 2)), "returned 5 outputs for 2 rows"),
        (forever(), "returned more than 2 outputs for 2 rows"),
        ((x for x in [1]), "returned 1 outputs for 2 rows"),
        (None, "returned None where"),
        ("ab", "returned one str where"),
        ({"a": 1, "b": 2}, "output 'a': predict returned one int where"),
        ({"a": [1, 2], "b": [1]}, "output 'b': predict returned 1 outputs for 2 rows"),
        ({}, "returned an empty dict"),
        ({1, 2}, "returned one set where"),
        (3, "returned one int where"),
        (np.float64(3.0), "returned one float where"),
        (np.array(3.0), "returned one float where"),
    ],
)
def test_another_number_of_outputs_than_rows_is_told(outputs: Any, sentence: str) -> None:
    with pytest.raises(WrongOutputs, match=sentence):
        as_list(outputs, 2)


def test_what_a_generator_raises_passes_through() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise TypeError("row 2")

    with pytest.raises(TypeError, match="row 2"):
        as_list(failing(), 2)
