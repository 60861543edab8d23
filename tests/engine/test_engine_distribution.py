"""A policy is code of users: whatever it does, there is a distribution, or a reason why there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.engine.distribution import distribution_of, restricted

ARMS = ("a", "b", "c")


class Says:
    name = "odd"

    def __init__(self, said):
        self.said = said

    def distribution(self, arms, state):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def made(said, arms=ARMS, state=None):
    return distribution_of(Says(said), arms, state or {})


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ([0.5, 0.5], "2 probabilities for 3 models"),
        ([], "0 probabilities"),
        ([0.5, 0.6, -0.1], "'c' -0.1"),
        ([0.5, 0.5, float("nan")], "'c' nan"),
        ([0.5, 0.5, float("inf")], "'c' inf"),
        ([0.5, 0.4, 0.0], "sum to 0.9"),
        ([0, 0, 0], "sum to 0"),
        ([0.5, 0.5, None], "'c' None"),
        ([True, False, False], "'a' True"),
        (["0.5", 0.5, 0.0], "'a' '0.5'"),
        ([1j, 0, 0], "'a' 1j"),
        (None, "NoneType instead of a list"),
        ({"a": 1.0}, "dict instead of a list"),
        ("abc", "str instead of a list"),
        (0.5, "float instead of a list"),
        (ZeroDivisionError("division by zero"), "raised in distribution(): ZeroDivisionError: division by zero"),
        (RecursionError("too deep"), "raised in distribution(): RecursionError"),
    ],
)
def test_nonsense_is_a_fault_with_a_sentence(said, complaint):
    fault = made(said).fault
    assert fault.code == "policy_failed"
    assert "The policy 'odd'" in fault.message
    assert complaint in fault.message


def test_arrays_generators_and_tuples_are_lists_too():
    for said in (np.array([0.2, 0.3, 0.5]), np.float32([0.2, 0.3, 0.5]), (p for p in (0.2, 0.3, 0.5)), (0.2, 0.3, 0.5)):
        assert made(said).probabilities == pytest.approx((0.2, 0.3, 0.5), abs=1e-6)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda p: sum(p) > 1e-3), st.floats(0, 1, exclude_max=True)
)
def test_a_draw_never_hits_an_arm_of_probability_zero(weights, point):
    total = sum(weights)
    distribution = made([weight / total for weight in weights], tuple("abcdefgh"[: len(weights)]))
    assert distribution.probabilities[distribution.draw(point)] > 0


@pytest.mark.parametrize(("point", "arm"), [(0.0, "a"), (0.199, "a"), (0.2, "c"), (0.999, "c"), (1 - 2**-53, "c")])
def test_a_draw_hits_an_arm_as_often_as_its_probability_says(point, arm):
    distribution = made([0.2, 0.0, 0.8])
    assert ARMS[distribution.draw(point)] == arm


def test_some_arms_share_the_chances_in_proportion():
    part = restricted(made([0.2, 0.2, 0.6]), ("a", "c"))
    assert part.weights == pytest.approx({"a": 0.25, "c": 0.75})
    assert restricted(made([1.0, 0.0, 0.0]), ("b", "c")) is None


def test_the_best_arm_is_the_one_with_the_lowest_mean_loss_that_is_known():
    state = {"a": {"loss": 5.0, "plays": 10.0}, "b": {"loss": 1.0, "plays": 4.0}, "c": {"loss": 0.0, "plays": 0.0}}
    known = made([0.2, 0.2, 0.6], state=state)
    assert (known.best_of(ARMS), known.best_of(("a", "c")), known.best_of(("c",))) == ("b", "a", None)
