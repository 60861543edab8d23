import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_digest

from clipper.abstraction.cache import ENTRY_OVERHEAD_BYTES, PredictionCache
from clipper.metrics import VersionMetrics


def scoped(max_bytes=1 << 20):
    cache = PredictionCache(max_bytes)
    metrics = VersionMetrics()
    return cache, cache.scope("m", "1", 1, metrics), metrics


def size_of(row, output):
    return len(row) + len(output) + ENTRY_OVERHEAD_BYTES


def test_returns_what_was_put():
    cache, scope, _ = scoped()
    cache.put(scope, b"d", b"row", b"1")
    assert cache.get(scope, b"d", b"row", 0.0) == b"1"
    assert cache.get(scope, b"e", b"row", 0.0) is None


def test_another_row_under_the_same_digest_is_a_miss_not_a_wrong_answer():
    cache, scope, _ = scoped()
    cache.put(scope, b"d", b"row", b"1")
    assert cache.get(scope, b"d", b"other", 0.0) is None


def test_another_generation_of_the_same_version_sees_nothing():
    cache, scope, metrics = scoped()
    cache.put(scope, b"d", b"row", b"1")
    assert cache.get(cache.scope("m", "1", 2, metrics), b"d", b"row", 0.0) is None


def test_the_same_generation_served_again_finds_its_entries():
    cache, scope, _ = scoped()
    cache.put(scope, b"d", b"row", b"1")
    assert cache.get(cache.scope("m", "1", 1, VersionMetrics()), b"d", b"row", 0.0) == b"1"


def test_scopes_hash_with_seeds_of_their_own():
    cache, scope, metrics = scoped()
    other = cache.scope("m", "2", 1, metrics)
    assert xxh3_128_digest(b"row", scope.seed) != xxh3_128_digest(b"row", other.seed)


def test_an_entry_lives_until_it_expires():
    cache, scope, _ = scoped()
    cache.put(scope, b"d", b"row", b"1", 10.0)
    assert cache.get(scope, b"d", b"row", 9.9) == b"1"
    assert cache.get(scope, b"d", b"row", 10.0) is None
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_the_least_recently_used_entry_goes_first_and_is_counted():
    cache, scope, metrics = scoped(3 * size_of(b"r", b"1"))
    for digest in (b"a", b"b", b"c"):
        cache.put(scope, digest, b"r", b"1")
    cache.get(scope, b"a", b"r", 0.0)
    cache.put(scope, b"d", b"r", b"1")
    assert cache.get(scope, b"b", b"r", 0.0) is None
    assert cache.get(scope, b"a", b"r", 0.0) == b"1"
    assert metrics.cache_evicted == 1


def test_nothing_is_kept_with_no_room_and_nothing_larger_than_the_room():
    for max_bytes in (0, 1000):
        cache, scope, _ = scoped(max_bytes)
        cache.put(scope, b"d", b"r" * 2000, b"1")
        assert (len(cache), cache.size_bytes) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from("pg"), st.integers(0, 8), st.integers(0, 400)), max_size=60))
def test_size_is_the_sum_of_the_entries_and_never_over_the_bound(steps):
    cache, scope, _ = scoped(2000)
    for step, number, length in steps:
        digest = b"%d" % number
        if step == "p":
            cache.put(scope, digest, b"r" * length, b"1", float(length))
        else:
            cache.get(scope, digest, b"r" * length, 200.0)
        assert cache.size_bytes == sum(entry.size_bytes() for entry in cache._entries.values()) <= 2000


@pytest.mark.parametrize(("entries", "row_bytes"), [(3_000, 80), (20_000, 80), (5_000, 6272)])
def test_the_bytes_it_counts_are_about_the_bytes_it_takes(entries, row_bytes):
    cache, scope, _ = scoped(1 << 30)
    tracemalloc.start()
    try:
        for number in range(entries):
            row = number.to_bytes(8, "little") * (row_bytes // 8)
            cache.put(scope, xxh3_128_digest(row, scope.seed), row, b"%d" % number, float(number))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.75 * cache.size_bytes < taken < 1.1 * cache.size_bytes
