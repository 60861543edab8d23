from clipper.abstraction.admission import Forecast
from clipper.abstraction.arrivals import ArrivalRate

MS = 1e-3


def forecast(**changes):
    """Batches of 10 in 10 ms, one replica that is free in 5 ms; a batch of n takes n ms."""
    values = {
        "margin_s": 0.0,
        "free_s": [5 * MS],
        "batch_size": 10,
        "batch_s": 10 * MS,
        "run_s": lambda size: size * MS,
        "measured": True,
    }
    return Forecast(**(values | changes))


def test_a_query_in_the_next_batch_with_time_for_a_full_one_needs_no_closer_look():
    assert forecast().surely_on_time(0.0, 15.1 * MS, 9)
    assert not forecast().surely_on_time(0.0, 14.9 * MS, 9)
    assert not forecast().surely_on_time(0.0, 1.0, 10)
    assert not forecast(tight=True).surely_on_time(0.0, 1.0, 0)
    assert not forecast(margin_s=1 * MS).surely_on_time(0.0, 15.1 * MS, 9)


def test_admits_what_is_on_time_after_waiting_and_refuses_what_is_not():
    assert forecast().refusal_s(0.0, 6.5 * MS, 0, []) is None
    assert forecast().refusal_s(0.0, 5.5 * MS, 0, []) is not None


def test_says_after_how_long_it_would_have_been_admitted():
    refused_s = forecast().refusal_s(0.0, 5.5 * MS, 0, [])
    assert abs(refused_s - 0.5 * MS) < 1e-9
    assert forecast(free_s=[5 * MS - refused_s]).refusal_s(0.0, 5.5 * MS + 1e-9, 0, []) is None


def test_work_ahead_is_counted_in_full_batches():
    queue = [1.0] * 10
    assert forecast().refusal_s(0.0, 16.5 * MS, 10, queue) is None
    assert forecast().refusal_s(0.0, 15.5 * MS, 10, queue) is not None


def test_arrivals_until_the_batch_starts_are_counted_as_part_of_it():
    assert forecast().refusal_s(0.0, 10 * MS, 0, []) is None
    assert forecast(arrivals_per_s=2000.0).refusal_s(0.0, 10 * MS, 0, []) is not None


def test_a_second_replica_takes_the_second_batch():
    queue = [1.0] * 10
    assert forecast(free_s=[5 * MS, 6 * MS]).refusal_s(0.0, 7.5 * MS, 10, queue) is None


def test_refuses_what_would_move_an_admitted_query_into_a_later_batch_and_make_it_late():
    queue = [15.2 * MS] * 9 + [15.8 * MS]
    assert forecast().refusal_s(0.0, 100.0, 10, queue) is None
    assert forecast().refusal_s(0.0, 15.5 * MS, 9, queue) is not None


def test_refuses_what_would_make_the_batch_too_long_for_its_head():
    queue = [8 * MS] * 3
    assert forecast().refusal_s(0.0, 100.0, 3, queue) is not None
    assert forecast().refusal_s(0.0, 100.0, 3, [9.5 * MS] * 3) is None


def test_a_query_that_is_late_anyway_keeps_nobody_out():
    assert forecast().refusal_s(0.0, 100.0, 3, [1 * MS] * 3) is None


def test_without_a_measurement_there_is_no_ground_for_a_refusal():
    assert forecast(measured=False).refusal_s(0.0, 0.001 * MS, 0, []) is None


def test_the_check_for_harm_is_bounded_however_long_the_queue_is():
    asked = []

    class Deadlines(list):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    queue = Deadlines([1e6] * 50_000)
    assert forecast(batch_size=1, batch_s=1 * MS).refusal_s(0.0, 1e5, 0, queue) is None
    assert len(asked) < 100


def test_the_arrival_rate_follows_the_arrivals():
    rate = ArrivalRate()
    rate.rate(10.0)
    for tick in range(1, 200):
        rate.count += 5
        rate.rate(10.0 + tick * 0.005)
    assert 900 < rate.per_s < 1100
    assert rate.rate(20.0) < 100
