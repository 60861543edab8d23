import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.errors import InvalidLabel
from clipper.selection import Loss
from clipper.selection.equality import equal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
LOSSES = st.sampled_from([Loss(), Loss("squared", 0.0, 4.0), Loss("absolute", 1.0, 3.0)])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (3, 3.0, True),
        (0.0, -0.0, True),
        (2**53 + 1, float(2**53), False),
        (3, "3", False),
        (1, True, False),
        ("1", True, False),
        (None, False, False),
        ([1, 2], [1.0, 2.0], True),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ([], {}, False),
    ],
)
def test_labels_are_equal_as_json_values_and_numbers_numerically(one, other, same):
    assert equal(one, other) is same
    assert equal(other, one) is same


def nested(depth):
    value: object = 3
    for _ in range(depth):
        value = [value]
    return value


def test_values_nested_beyond_any_stack_are_compared_and_shown():
    assert equal(nested(100_000), nested(100_000))
    assert not equal(nested(100_000), nested(99_999))
    with pytest.raises(InvalidLabel, match="a list nested too deeply to be shown"):
        Loss("squared").of_all({"svm": 3}, nested(100_000))


@pytest.mark.parametrize(
    ("loss", "output", "label", "expected"),
    [
        (Loss(), "cat", "cat", 0.0),
        (Loss(), "cat", "dog", 1.0),
        (Loss(), 3, 3.0, 0.0),
        (Loss(), None, "cat", 1.0),
        (Loss(), [0.1, 0.7, 0.2], 1, 0.0),
        (Loss(), [0.1, 0.7, 0.2], 1.0, 0.0),
        (Loss(), [0.1, 0.7, 0.2], 2, 1.0),
        (Loss(), [0.5, 0.5], 0, 0.0),
        (Loss("absolute", 0.0, 10.0), 3, 5.5, 0.25),
        (Loss("absolute", 1.0, 3.0), 0, 2, 0.5),
        (Loss("absolute", 1.0, 3.0), 0, 0.5, 0.0),
        (Loss("absolute", 1.0, 3.0), 0, 50, 1.0),
        (Loss("squared", 0.0, 4.0), 1, 2, 0.25),
        (Loss("squared", 0.0, 1.0), [0.0, 1.0], [1.0, 1.0], 0.5),
        (Loss("squared"), 1e308, -1e308, 1.0),
        (Loss("absolute"), 10**400, 0.5, 1.0),
        (Loss("squared"), 10**400, 10**401, 0.0),
    ],
)
def test_the_loss_of_an_output(loss, output, label, expected):
    assert loss.of(output, label) == pytest.approx(expected)


@given(LOSSES, JSON, JSON)
def test_a_loss_is_between_0_and_1_or_there_is_none(loss, output, label):
    value = loss.of(output, label)
    assert value is None or (0.0 <= value <= 1.0 and math.isfinite(value))


@given(JSON)
def test_a_value_is_as_right_as_can_be_about_itself(value):
    assert Loss().of(value, value) == 0.0


@pytest.mark.parametrize(
    ("loss", "outputs", "label", "sentence"),
    [
        (Loss(), {"svm": 3}, "3", r'a number; "3" came, and \'svm\' answered 3\.'),
        (Loss(), {"svm": "3"}, 3, "a string; 3 came"),
        (Loss(), {"svm": 1}, True, "a number; true came"),
        (Loss(), {"svm": [0.2, 0.8]}, 2, "the index of a class, 0 to 1, or a list of 2 numbers; 2 came"),
        (Loss(), {"svm": [0.2, 0.8]}, 0.5, "the index of a class"),
        (Loss("squared"), {"svm": 1.0}, "high", 'a number for outputs that are numbers.*"high" came'),
        (Loss("absolute"), {"svm": [1.0, 2.0]}, [1.0], r"a list of as many numbers for lists; \[1.0\] came"),
        (Loss("absolute"), {"svm": 1.0}, True, "true came"),
    ],
)
def test_a_label_that_suits_no_output_is_refused_with_what_was_expected(loss, outputs, label, sentence):
    with pytest.raises(InvalidLabel, match=sentence):
        loss.of_all(outputs, label)


def test_a_long_label_is_shown_in_part():
    with pytest.raises(InvalidLabel) as refused:
        Loss().of_all({"svm": 3}, "x" * 10_000)
    assert len(str(refused.value)) < 400


def test_an_output_of_another_kind_is_as_wrong_as_can_be_when_the_label_suits_another_one():
    assert Loss().of_all({"svm": 3, "odd": "3", "silent": None}, 3) == {"svm": 0.0, "odd": 1.0, "silent": 1.0}
    assert Loss("absolute", 0.0, 2.0).of_all({"svm": 3, "odd": "3"}, 4) == {"svm": 0.5, "odd": 1.0}


def test_no_outputs_have_no_losses():
    assert Loss().of_all({}, 3) == {}


def test_the_largest_float_does_not_overflow():
    largest = sys.float_info.max
    assert Loss("squared", 0.0, largest).of([largest, -largest], [-largest, largest]) == 1.0
