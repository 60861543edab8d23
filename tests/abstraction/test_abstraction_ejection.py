from clipper.abstraction.ejection import LONGEST_EJECTION_S, MAX_FAILURES, Ejection
from clipper.abstraction.retry_budget import RESERVE, RetryBudget


def test_consecutive_failures_eject_and_a_success_in_between_starts_again():
    ejection = Ejection()
    for _ in range(MAX_FAILURES - 1):
        assert not ejection.failure(0.0, is_last=False)
    ejection.success()
    for _ in range(MAX_FAILURES - 1):
        assert not ejection.failure(0.0, is_last=False)
    assert ejection.failure(0.0, is_last=False)
    assert ejection.ejected
    assert ejection.until_s > 0.0


def test_the_last_replica_is_never_ejected():
    ejection = Ejection()
    for _ in range(50):
        assert not ejection.failure(0.0, is_last=True)
    assert not ejection.ejected


def test_a_failed_probe_ejects_again_at_once_and_for_longer_but_not_without_bound():
    ejection = Ejection()
    for _ in range(MAX_FAILURES):
        ejection.failure(0.0, is_last=False)
    durations = [ejection.until_s]
    for _ in range(8):
        now_s = ejection.until_s
        assert ejection.failure(now_s, is_last=False)
        durations.append(ejection.until_s - now_s)
    assert durations == sorted(durations)
    assert durations[1] > durations[0]
    assert durations[-1] == LONGEST_EJECTION_S


def test_a_good_probe_brings_it_back_for_good():
    ejection = Ejection()
    for _ in range(MAX_FAILURES):
        ejection.failure(0.0, is_last=False)
    ejection.success()
    assert not ejection.ejected
    assert not ejection.failure(1.0, is_last=False)


def test_retries_are_a_bounded_share_of_the_queries():
    budget = RetryBudget()
    queries, retries = 50_000, 0
    for _ in range(queries):
        budget.earn(1)
        retries += budget.spend()
        retries += budget.spend()
    assert retries <= 0.1 * queries + RESERVE


def test_a_quiet_version_may_retry_what_a_crash_took():
    assert all(RetryBudget().spend() for _ in range(32))
