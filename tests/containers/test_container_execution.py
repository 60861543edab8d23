"""One batch through a model: shapes, deadlines, rows that fail alone."""

from math import inf, nan
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper_container import wire
from clipper_container.execution import Predict, execute
from clipper_container.wire import HEADER, BatchReply, ItemError


def doubles(*values: float) -> bytes:
    return np.array(values, "<f8").tobytes()


def run(
    predict: Predict,
    rows: list[bytes],
    *,
    input_type: str = "doubles",
    deadlines: list[float] | None = None,
    now: float = 0.0,
) -> list[bytes | ItemError]:
    """Executes a batch as the runtime does and decodes the reply as a frontend does."""
    batch = wire.encode_batch(1, input_type, rows, deadlines or [inf] * len(rows))
    execution = execute(wire.decode_batch(bytearray(batch[HEADER.size :])), predict, lambda: now)
    reply = wire.encode_reply(1, len(rows), execution.lines, execution.errors, 0.0, 0.0)
    decoded: BatchReply = wire.decode_reply(bytearray(reply[HEADER.size :]))
    return decoded.outputs


@pytest.mark.parametrize(("input_type", "dtype"), [("doubles", "f8"), ("floats", "f4"), ("integers", "i4")])
def test_a_numeric_batch_is_one_writable_array_in_two_dimensions(input_type: str, dtype: str) -> None:
    seen: list[np.ndarray[Any, Any]] = []

    def predict(inputs: np.ndarray[Any, Any]) -> list[float]:
        seen.append(inputs)
        inputs += 1
        return list(inputs.sum(axis=1))

    rows = [np.array([i, i], f"<{dtype}").tobytes() for i in range(3)]
    assert [float(x) for x in run(predict, rows, input_type=input_type)] == [2, 4, 6]  # type: ignore[arg-type]
    (inputs,) = seen
    assert (inputs.shape, inputs.dtype, inputs.flags.c_contiguous) == ((3, 2), np.dtype(dtype), True)


def test_the_array_shares_the_receive_buffer() -> None:
    batch = bytearray(wire.encode_batch(1, "doubles", [doubles(1), doubles(2)], [inf, inf])[HEADER.size :])
    view = wire.decode_batch(batch)

    def predict(inputs: np.ndarray[Any, Any]) -> list[int]:
        inputs[:] = 7
        return [0, 0]

    execute(view, predict, lambda: 0.0)
    assert bytes(view.rows) == doubles(7, 7)


@pytest.mark.parametrize(
    ("input_type", "rows", "inputs"),
    [
        ("strings", ["é".encode(), b"", b"abc"], ["é", "", "abc"]),
        ("bytes", [b"\x00\xff", b"a"], [b"\x00\xff", b"a"]),
        ("json", [b'{"a":[1,2.5]}', b"null", b'"x"'], [{"a": [1, 2.5]}, None, "x"]),
    ],
)
def test_other_inputs_are_a_list_of_decoded_values(input_type: str, rows: list[bytes], inputs: list[Any]) -> None:
    seen: list[Any] = []

    def predict(batch: list[Any]) -> list[int]:
        seen.extend(batch)
        return [0] * len(batch)

    assert run(predict, rows, input_type=input_type) == [b"0"] * len(rows)
    assert seen == inputs


def test_a_row_that_does_not_decode_fails_alone() -> None:
    outputs = run(lambda batch: [len(text) for text in batch], [b"ab", b"\xff", b"c"], input_type="strings")
    assert (outputs[0], outputs[2]) == (b"2", b"1")
    assert isinstance(outputs[1], ItemError)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_ragged_rows_reach_the_model_as_arrays_of_one_width_and_keep_their_order(widths: list[int]) -> None:
    def predict(inputs: np.ndarray[Any, Any]) -> Any:
        assert inputs.ndim == 2
        return inputs[:, :1].sum(axis=1) + 100 * inputs.shape[1]

    rows = [doubles(*([float(i)] * width)) for i, width in enumerate(widths)]
    expected = [100.0 * width + (i if width else 0) for i, width in enumerate(widths)]
    assert [float(x) for x in run(predict, rows)] == expected  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(["good", "bad", "expired"]), min_size=1, max_size=33))
def test_only_bad_rows_fail_and_expired_rows_never_run(kinds: list[str]) -> None:
    executed: set[int] = set()

    def predict(inputs: np.ndarray[Any, Any]) -> list[int]:
        ids = inputs[:, 0].astype(int).tolist()
        executed.update(ids)
        inputs[:] = -1  # a model may write to its input and raise afterwards
        if any(kinds[i] == "bad" for i in ids):
            raise ValueError("bad row")
        return ids

    deadlines = [0.5 if kind == "expired" else 2.0 for kind in kinds]
    outputs = run(predict, [doubles(i) for i in range(len(kinds))], deadlines=deadlines, now=1.0)
    for i, (kind, output) in enumerate(zip(kinds, outputs, strict=True)):
        if kind == "good":
            assert output == str(i).encode()
        else:
            assert isinstance(output, ItemError)
            assert output.code == ("model_error" if kind == "bad" else "deadline_exceeded")
            assert output.message == "ValueError: bad row" or kind == "expired"
    assert executed == {i for i, kind in enumerate(kinds) if kind != "expired"}


def test_splitting_stops_at_the_deadline() -> None:
    now = 0.0
    calls = 0

    def predict(inputs: np.ndarray[Any, Any]) -> list[int]:
        nonlocal now, calls
        calls += 1
        now += 1.0
        raise ValueError("always")

    batch = wire.encode_batch(1, "doubles", [doubles(i) for i in range(64)], [3.5] * 64)
    execution = execute(wire.decode_batch(bytearray(batch[HEADER.size :])), predict, lambda: now)
    assert calls == 4
    assert {error.code for _, error in execution.errors} == {"deadline_exceeded"}
    assert len(execution.errors) == 64


def test_a_deadline_that_is_not_a_number_has_passed() -> None:
    (output,) = run(lambda inputs: [0] * len(inputs), [doubles(1)], deadlines=[nan])
    assert output == ItemError("deadline_exceeded", "the deadline passed before the model could run")


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError("big"), RecursionError("deep")]
)
def test_whatever_a_model_raises_is_its_rows_error(error: BaseException) -> None:
    def predict(inputs: Any) -> Any:
        raise error

    (output,) = run(predict, [doubles(1)])
    assert isinstance(output, ItemError)
    assert output.message.startswith(type(error).__name__)


def test_a_wrong_number_of_outputs_fails_every_row_and_is_not_run_again() -> None:
    calls = 0

    def predict(inputs: Any) -> list[int]:
        nonlocal calls
        calls += 1
        return [0]

    outputs = run(predict, [doubles(i) for i in range(4)])
    assert calls == 1
    sentence = "predict returned 1 outputs for 4 rows; it has to return one per row"
    assert outputs == [ItemError("model_error", sentence)] * 4


def test_an_exception_whose_message_cannot_be_shown_is_still_told() -> None:
    class Odd(Exception):  # a model's own
        def __str__(self) -> str:
            raise RuntimeError

    def predict(inputs: Any) -> Any:
        raise Odd

    (output,) = run(predict, [doubles(1)])
    assert output == ItemError("model_error", "Odd: (its message cannot be shown)")


def test_json_rows_are_decoded_anew_when_they_run_again() -> None:
    def predict(batch: list[Any]) -> list[Any]:
        values = [row.pop("value") for row in batch]
        if len(batch) > 1:
            raise ValueError("one at a time")
        return values

    rows = [msgspec.json.encode({"value": i}) for i in range(3)]
    assert run(predict, rows, input_type="json") == [b"0", b"1", b"2"]
