import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.selection import Loss
from clipper.selection.combining import combined, combining_for

ARMS = ["a", "b", "c", "d"]
EQUAL = dict.fromkeys(ARMS, 0.25)
ZERO_ONE = Loss()
ABSOLUTE = Loss("absolute", 0.0, 10.0)

VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)
OUTPUTS = st.dictionaries(st.sampled_from(ARMS), VALUES, min_size=1)


@st.composite
def weightings(draw):
    parts = draw(st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).filter(lambda parts: sum(parts) > 1e-6))
    return {arm: part / sum(parts) for arm, part in zip(ARMS, parts, strict=True)}


WAYS = st.sampled_from(["vote", "mean"])
LOSSES = st.sampled_from([ZERO_ONE, ABSOLUTE, Loss("squared", 0.0, 4.0)])


@given(OUTPUTS, weightings(), WAYS, LOSSES)
def test_whatever_arrives_is_combined_with_a_confidence_between_0_and_1(outputs, weights, way, loss):
    _, confidence = combined(outputs, weights, way, loss)
    assert 0.0 <= confidence <= 1.0


@given(VALUES, weightings(), WAYS, LOSSES)
def test_what_all_agree_on_is_kept_as_it_is_and_certain(value, weights, way, loss):
    answer, confidence = combined(dict.fromkeys(ARMS, value), weights, way, loss)
    assert answer is value
    assert confidence == pytest.approx(1.0)


@given(OUTPUTS, weightings(), WAYS, LOSSES, st.sampled_from(ARMS))
def test_a_member_that_is_missing_never_raises_the_confidence_in_a_unanimous_answer(
    outputs, weights, way, loss, missing
):
    value = next(iter(outputs.values()))
    everybody = dict.fromkeys(ARMS, value)
    rest = {arm: value for arm in ARMS if arm != missing}
    _, with_all = combined(everybody, weights, way, loss)
    _, without = combined(rest, weights, way, loss)
    assert without == pytest.approx(with_all - weights[missing])


@given(
    st.dictionaries(st.sampled_from(ARMS), st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    weightings(),
)
def test_a_mean_lies_between_the_least_and_the_largest(outputs, weights):
    answer, _ = combined(outputs, weights, "mean", ABSOLUTE)
    assert min(outputs.values()) <= answer <= max(outputs.values())


def test_classes_are_voted_on_with_the_weights():
    weights = {"a": 0.45, "b": 0.3, "c": 0.25}
    assert combined({"a": "cat", "b": "dog", "c": "dog"}, weights, "vote", ZERO_ONE) == ("dog", 0.55)


def test_numbers_that_are_classes_are_voted_on_too_and_need_not_be_written_alike():
    weights = {"a": 0.4, "b": 0.3, "c": 0.3}
    assert combined({"a": 7, "b": 3, "c": 3.0}, weights, "vote", ZERO_ONE) == (3, 0.6)


def test_a_number_and_a_string_are_different_votes():
    answer, confidence = combined({"a": "3", "b": 3, "c": "3", "d": True}, EQUAL, "vote", ZERO_ONE)
    assert (answer, confidence) == ("3", 0.5)


def test_equal_votes_go_to_the_first():
    assert combined({"a": 1, "b": 2}, {"a": 0.5, "b": 0.5}, "vote", ZERO_ONE) == (1, 0.5)
    assert combined({"b": 2, "a": 1}, {"a": 0.5, "b": 0.5}, "vote", ZERO_ONE) == (2, 0.5)


def test_quantities_are_averaged_and_the_confidence_is_how_close_they_are():
    weights = {"a": 0.5, "b": 0.25, "c": 0.25}
    answer, confidence = combined({"a": 4, "b": 5, "c": 7}, weights, "mean", ABSOLUTE)
    assert answer == 5.0
    assert confidence == pytest.approx(0.5 * 0.9 + 0.25 * 1.0 + 0.25 * 0.8)


def test_members_that_did_not_arrive_count_neither_in_the_mean_nor_in_the_confidence():
    answer, confidence = combined({"a": 4, "b": 6}, {"a": 0.4, "b": 0.4, "late": 0.2}, "mean", ABSOLUTE)
    assert answer == 5.0
    assert confidence == pytest.approx(0.8 * 0.9)


@pytest.mark.parametrize("way", ["vote", "mean"])
def test_scores_are_averaged_and_the_confidence_counts_who_names_the_same_class(way):
    outputs = {"a": [0.6, 0.4], "b": [0.7, 0.3], "c": [0.2, 0.8]}
    answer, confidence = combined(outputs, {"a": 0.3, "b": 0.3, "c": 0.4}, way, ZERO_ONE)
    assert answer == pytest.approx([0.47, 0.53])
    assert confidence == pytest.approx(0.4)


def test_a_vote_takes_lists_of_whole_numbers_for_lists_of_classes():
    outputs = {"a": [3, 5], "b": [3, 6], "c": [3, 6]}
    assert combined(outputs, dict.fromkeys("abc", 1 / 3), "vote", ZERO_ONE)[0] == [3, 6]


@pytest.mark.parametrize("outputs", [{"a": 1, "b": "x", "c": "x"}, {"a": [1.0], "b": [1.0, 2.0], "c": [1.0, 2.0]}])
def test_what_cannot_be_averaged_is_voted_on(outputs):
    answer, confidence = combined(outputs, dict.fromkeys("abc", 1 / 3), "mean", ABSOLUTE)
    assert answer == outputs["b"]
    assert confidence == pytest.approx(2 / 3)


def test_numbers_averaged_under_zero_one_are_compared_by_their_distance():
    answer, confidence = combined({"a": 0.6, "b": 0.8}, {"a": 0.5, "b": 0.5}, "mean", ZERO_ONE)
    assert answer == pytest.approx(0.7)
    assert confidence == pytest.approx(0.9)


def test_members_without_any_weight_still_answer_and_nobody_is_confident():
    assert combined({"a": 4, "b": 6}, {"a": 0.0, "b": 0.0, "c": 1.0}, "mean", ABSOLUTE) == (5.0, 0.0)


def test_enormous_numbers_do_not_overflow():
    answer, _ = combined({"a": 10**400, "b": 1.7e308}, {"a": 0.5, "b": 0.5}, "mean", ABSOLUTE)
    assert 1.7e308 <= answer < float("inf")


def test_classes_are_voted_on_and_quantities_averaged_by_default():
    assert combining_for(ZERO_ONE) == "vote"
    assert combining_for(ABSOLUTE) == combining_for(Loss("squared")) == "mean"
