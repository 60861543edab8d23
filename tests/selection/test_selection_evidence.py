"""Evidence is additive: what counts is which feedbacks came, never in which order they were added."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.evidence import Evidence, with_prior

HALF_LIVES = st.none() | st.floats(1.0, 1e5)
CHANGES = st.lists(
    st.dictionaries(
        st.sampled_from(["svm", "forest", "logistic"]),
        st.fixed_dictionaries({"plays": st.just(1.0), "loss": st.floats(0.0, 1.0)}),
        min_size=1,
    ),
    min_size=1,
    max_size=60,
)


@st.composite
def shuffled(draw):
    changes = draw(CHANGES)
    return changes, draw(st.permutations(range(len(changes))))


def in_any_order(changes, order, half_life, landmark=0):
    evidence = Evidence(n=landmark + len(changes), half_life_feedbacks=half_life, landmark=landmark)
    for index in order:
        evidence.add_at(landmark + index + 1, changes[index])
    return evidence.present()


def assert_same(one, other):
    assert one.keys() == other.keys()
    for arm in one:
        assert one[arm] == pytest.approx(other[arm], rel=1e-9, abs=1e-200)


@given(shuffled(), HALF_LIVES)
def test_any_order_of_feedback_gives_the_same_sums(changes_and_order, half_life):
    changes, order = changes_and_order
    serial = in_any_order(changes, range(len(changes)), half_life)
    assert_same(in_any_order(changes, order, half_life), serial)


@given(CHANGES, HALF_LIVES)
def test_feedback_counted_one_by_one_equals_feedback_added_at_its_positions(changes, half_life):
    evidence = Evidence(half_life_feedbacks=half_life)
    positions = [evidence.add(change, half_life) for change in changes]
    assert positions == list(range(1, len(changes) + 1))
    assert_same(evidence.present(), in_any_order(changes, range(len(changes)), half_life))


@given(st.integers(1, 200), st.floats(1.0, 50.0))
def test_a_feedback_counts_half_after_its_half_life(later, half_life):
    evidence = Evidence()
    evidence.add({"svm": {"loss": 1.0}}, half_life)
    for _ in range(later):
        evidence.add({}, half_life)
    assert evidence.present()["svm"]["loss"] == pytest.approx(2.0 ** (-later / half_life))


def test_without_a_half_life_nothing_is_forgotten():
    evidence = Evidence()
    for _ in range(10_000):
        evidence.add({"svm": {"plays": 1.0}}, None)
    assert evidence.present() == {"svm": {"plays": 10_000.0}}


def test_the_landmark_moves_before_a_factor_overflows_and_the_sums_stay_those_of_a_geometric_series():
    evidence = Evidence()
    for _ in range(5_000):
        evidence.add({"svm": {"plays": 1.0}}, 1.0)
        assert max(evidence.sums["svm"].values()) < math.inf
    assert evidence.landmark > 0
    assert evidence.present()["svm"]["plays"] == pytest.approx(2.0)


def test_a_new_half_life_counts_from_now_on():
    evidence = Evidence()
    for _ in range(100):
        evidence.add({"svm": {"plays": 1.0}}, None)
    evidence.add({"svm": {"plays": 1.0}}, 50.0)
    assert evidence.present()["svm"]["plays"] == pytest.approx(101.0)
    for _ in range(50):
        evidence.add({}, 50.0)
    assert evidence.present()["svm"]["plays"] == pytest.approx(50.5)


def test_a_copy_is_independent():
    evidence = Evidence()
    evidence.add({"svm": {"plays": 1.0}}, 10.0)
    copy = evidence.copy()
    evidence.add({"svm": {"plays": 1.0}}, 10.0)
    assert copy.n == 1
    assert copy.present() == {"svm": {"plays": 1.0}}


def test_a_prior_is_added_in_its_share_for_arms_that_either_side_knows():
    own = {"svm": {"loss": 1.0}, "new": {"loss": 2.0}}
    shared = {"svm": {"loss": 10.0, "plays": 4.0}, "old": {"loss": 6.0}}
    assert with_prior(own, shared, 0.5) == {
        "svm": {"loss": 6.0, "plays": 2.0},
        "new": {"loss": 2.0},
        "old": {"loss": 3.0},
    }
