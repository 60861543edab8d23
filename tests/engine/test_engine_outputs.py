import gc
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from clipper.engine.outputs import OutputMemory

nonces = st.integers(0, 9).map(lambda i: i.to_bytes(12, "big"))
outputs = st.tuples(nonces, st.sampled_from("abc"), st.binary(max_size=300))


def test_what_is_put_is_found_until_it_is_forgotten():
    memory = OutputMemory(1 << 20)
    memory.put(b"n1", "svm:1", b"[1,2]")
    memory.put(b"n1", "forest:2", b"[3,4]")
    memory.put_input(b"n1", b"row")
    assert memory.get(b"n1") == {"svm:1": b"[1,2]", "forest:2": b"[3,4]"}
    assert memory.get_input(b"n1") == b"row"
    memory.forget(b"n1")
    memory.forget(b"n1")
    assert (memory.get(b"n1"), memory.get_input(b"n1"), len(memory), memory.size_bytes) == ({}, None, 0, 0)


def test_the_oldest_leave_when_there_is_no_room():
    memory = OutputMemory(5000)
    for i in range(100):
        memory.put(b"%d" % i, "m:1", bytes(100))
    assert memory.size_bytes <= 5000
    assert memory.evicted == 100 - len(memory)
    assert memory.get(b"99")
    assert not memory.get(b"0")


def test_one_output_larger_than_the_whole_memory_is_not_kept():
    memory = OutputMemory(2000)
    memory.put(b"n", "m:1", bytes(5000))
    assert (len(memory), memory.size_bytes) == (0, 0)


@given(st.lists(outputs, max_size=60), st.integers(0, 5000))
def test_it_never_holds_more_than_its_bound(puts, max_bytes):
    memory = OutputMemory(max_bytes)
    for nonce, model, output in puts:
        memory.put(nonce, model, output)
        assert memory.size_bytes <= max_bytes
    for nonce, _, _ in puts:
        memory.forget(nonce)
    assert memory.size_bytes == 0


def test_the_bytes_that_are_counted_are_those_that_are_taken():
    memory = OutputMemory(1 << 30)
    gc.collect()
    tracemalloc.start()
    for i in range(5000):
        nonce = i.to_bytes(12, "big")
        for model in ("a:1", "b:1", "c:1", "d:1"):
            memory.put(nonce, model, i.to_bytes(200, "big"))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.7 * memory.size_bytes < taken < 1.1 * memory.size_bytes
