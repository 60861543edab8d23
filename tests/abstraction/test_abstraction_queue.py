from bisect import insort

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipper.abstraction.deadline_queue import DeadlineQueue
from clipper.abstraction.flight import Flight


def flight(deadline_s, row=b"r"):
    return Flight(None, row, [], deadline_s, deadline_s, 0.0)


def test_takes_the_earliest_deadline_first_and_equal_ones_in_order_of_arrival():
    queue = DeadlineQueue(by_width=False)
    flights = [flight(d) for d in (3.0, 1.0, 2.0, 1.0)]
    for f in flights:
        queue.push(f)
    (shape,) = queue.by_head()
    assert queue.take(shape, 0, 3) == [flights[1], flights[3], flights[2]]
    assert queue.length == 1


def test_numeric_rows_of_different_width_stand_in_different_lines_and_the_earliest_head_is_first():
    queue = DeadlineQueue(by_width=True)
    for deadline_s, row in ((2.0, b"12345678"), (1.0, b"1234567812345678"), (3.0, b"87654321")):
        queue.push(flight(deadline_s, row))
    assert [shape.width for shape in queue.by_head()] == [16, 8]
    assert queue.earliest_s() == 1.0


def test_rows_of_any_length_share_one_line_when_the_type_is_not_numeric():
    queue = DeadlineQueue(by_width=False)
    queue.push(flight(1.0, b"a"))
    queue.push(flight(2.0, b"long"))
    assert len(queue.shapes) == 1


def test_an_empty_line_is_gone_at_once():
    queue = DeadlineQueue(by_width=True)
    one = flight(1.0)
    queue.push(one)
    queue.remove(one)
    assert queue.shapes == {}
    assert queue.length == 0
    assert queue.earliest_s() == float("inf")


def test_heads_that_are_skipped_stay_in_front():
    queue = DeadlineQueue(by_width=False)
    flights = [flight(float(d)) for d in range(5)]
    for f in flights:
        queue.push(f)
    (shape,) = queue.by_head()
    assert queue.take(shape, 2, 2) == flights[2:4]
    assert shape.flights == [flights[0], flights[1], flights[4]]


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["push", "remove", "take", "due"]),
            st.integers(0, 20),
            st.sampled_from([b"a", b"bb", b"ccc"]),
        )
    )
)
def test_agrees_with_a_sorted_list_whatever_is_done(steps):
    queue = DeadlineQueue(by_width=True)
    model = []  # (deadline, order of arrival, flight)
    for order, (action, number, row) in enumerate(steps):
        if action == "push":
            f = flight(float(number), row)
            queue.push(f)
            insort(model, (f.deadline_s, order, f), key=lambda entry: entry[:2])
        elif action == "remove" and model:
            entry = model.pop(number % len(model))
            queue.remove(entry[2])
        elif action == "take" and model:
            shape = queue.by_head()[0]
            assert shape.deadlines_s[0] == model[0][0]
            taken = queue.take(shape, 0, number + 1)
            expected = [entry for entry in model if len(entry[2].row) == shape.width][: number + 1]
            assert taken == [entry[2] for entry in expected]
            model = [entry for entry in model if entry not in expected]
        elif action == "due":
            due = queue.take_due(float(number))
            assert {id(f) for f in due} == {id(e[2]) for e in model if e[0] <= number}
            model = [entry for entry in model if entry[0] > number]
        assert queue.length == len(model)
        assert sum(len(shape.flights) for shape in queue.shapes.values()) == len(model)
        for shape in queue.shapes.values():
            assert shape.deadlines_s == [f.deadline_s for f in shape.flights] == sorted(shape.deadlines_s)
            assert shape.flights
    assert {id(f) for f in queue.take_all()} == {id(entry[2]) for entry in model}


def test_removing_what_is_not_there_is_a_fault_that_shows():
    queue = DeadlineQueue(by_width=False)
    with pytest.raises(KeyError):
        queue.remove(flight(1.0))
