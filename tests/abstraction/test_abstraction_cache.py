import time
import tracemalloc
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.abstraction.cache import ENTRY_OVERHEAD_BYTES, LONGEST_KEY_BYTES, PredictionCache, _size_bytes
from clipper.metrics import VersionMetrics

NAME = ("m", "1", 1)


def scoped(max_bytes=1 << 20):
    cache = PredictionCache(max_bytes)
    metrics = VersionMetrics()
    return cache, cache.scope(NAME, metrics), metrics


def put(cache, scope, row, output=b"1", **options):
    cache.put(scope, scope.key_of(row), row, output, **options)


def get(cache, scope, row, now_s=0.0):
    return cache.get(scope, scope.key_of(row), row, now_s)


@pytest.mark.parametrize("row", [b"row", b"r" * (LONGEST_KEY_BYTES + 1)])
def test_returns_what_was_put(row):
    cache, scope, _ = scoped()
    put(cache, scope, row)
    assert get(cache, scope, row) == b"1"
    assert get(cache, scope, row + b"x") is None
    put(cache, scope, row, b"2")
    assert get(cache, scope, row) == b"2"
    assert len(cache) == 1


def test_another_row_under_the_same_digest_is_a_miss_not_a_wrong_answer():
    cache, scope, _ = scoped()
    cache.put(scope, b"digest", b"row", b"1")
    assert cache.get(scope, b"digest", b"other", 0.0) is None


def test_another_generation_of_the_same_version_sees_nothing():
    cache, scope, metrics = scoped()
    put(cache, scope, b"row")
    assert get(cache, cache.scope(("m", "1", 2), metrics), b"row") is None


def test_the_same_generation_served_again_finds_its_entries():
    cache, scope, _ = scoped()
    put(cache, scope, b"row")
    cache.release(scope)
    assert get(cache, cache.scope(NAME, VersionMetrics()), b"row") == b"1"


def test_a_renewed_scope_finds_nothing_of_what_was_kept():
    cache, scope, metrics = scoped()
    put(cache, scope, b"row")
    fresh = cache.renewed(scope)
    assert get(cache, fresh, b"row") is None
    assert cache.scope(NAME, metrics) is fresh


def test_digests_have_seeds_of_their_own():
    cache, scope, metrics = scoped()
    row = b"r" * (LONGEST_KEY_BYTES + 1)
    assert scope.key_of(row) != cache.scope(("m", "2", 1), metrics).key_of(row)


def test_an_entry_lives_until_it_expires():
    cache, scope, _ = scoped()
    put(cache, scope, b"row", expires_s=10.0)
    assert get(cache, scope, b"row", 9.9) == b"1"
    assert get(cache, scope, b"row", 10.0) is None
    put(cache, scope, b"row", b"2", expires_s=20.0)
    assert get(cache, scope, b"row", 10.0) == b"2"


def test_what_is_asked_for_stays_and_what_is_not_goes_and_is_counted():
    size_bytes = len(b"row00") + 1 + ENTRY_OVERHEAD_BYTES
    cache, scope, metrics = scoped(8 * size_bytes)
    put(cache, scope, b"row00")
    for number in range(1, 40):
        put(cache, scope, b"row%02d" % number)
        assert get(cache, scope, b"row00") == b"1"
    assert get(cache, scope, b"row01") is None
    assert get(cache, scope, b"row39") == b"1"
    assert metrics.cache_evicted == 40 - len(cache)


def test_a_version_that_is_gone_is_forgotten_once_its_entries_are():
    cache, scope, metrics = scoped(10 * ENTRY_OVERHEAD_BYTES)
    gone = cache.scope(("m", "0", 1), metrics)
    put(cache, gone, b"row")
    cache.release(gone)
    cache.renewed(scope)
    scope = cache.scope(NAME, metrics)
    for number in range(40):
        put(cache, scope, b"row%d" % number)
    assert (list(cache._scopes), cache._retired) == ([NAME], [])


def test_nothing_is_kept_with_no_room_and_nothing_larger_than_half_of_it():
    for max_bytes in (0, 3000):
        cache, scope, _ = scoped(max_bytes)
        put(cache, scope, b"r" * 2000)
        assert (len(cache), cache.size_bytes) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from("ptgn"), st.integers(0, 12), st.sampled_from([1, 20, 600])), max_size=120))
def test_size_is_the_sum_of_what_is_held_and_never_over_the_bound(steps):
    cache, scope, _ = scoped(4000)
    for step, number, length in steps:
        row = b"%02d" % number * length
        if step == "p":
            put(cache, scope, row)
        elif step == "t":
            put(cache, scope, row, expires_s=100.0)
        elif step == "n":
            scope = cache.renewed(scope)
        else:
            get(cache, scope, row, float(number * 20))
        assert cache.size_bytes == held_bytes(cache) <= 4000


def held_bytes(cache):
    scopes = (*cache._scopes.values(), *cache._retired)
    shards = [shard for scope in scopes for shard in (*scope.young, *scope.old)] + cache._dropped
    return sum(_size_bytes(key, kept) for shard in shards for key, kept in shard.items())


def test_no_put_takes_long_however_much_is_kept():
    # A put that is slow by itself is slow each time; one that the garbage collector or the machine held up is not.
    assert max(map(min, seconds_of_puts(300_000), seconds_of_puts(300_000))) < 0.01


def seconds_of_puts(count):
    cache, scope, _ = scoped(64 << 20)
    seconds = array("d")
    for number in range(count):
        row = number.to_bytes(80, "little")
        before_s = time.thread_time()
        cache.put(scope, row, row, b"1")
        seconds.append(time.thread_time() - before_s)
    assert cache.size_bytes > 32 << 20
    return seconds


@pytest.mark.parametrize(("entries", "row_bytes"), [(3_000, 80), (20_000, 80), (5_000, 6272)])
def test_the_bytes_it_counts_are_about_the_bytes_it_takes(entries, row_bytes):
    cache, scope, _ = scoped(1 << 30)
    tracemalloc.start()
    try:
        for number in range(entries):
            put(cache, scope, number.to_bytes(8, "little") * (row_bytes // 8), b"%d" % number)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.75 * cache.size_bytes < taken < 1.1 * cache.size_bytes
