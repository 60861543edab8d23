import base64
import json
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from simulated_log import record

from clipper.cli.exporting import COLUMNS, ROWS_AT_A_TIME, export
from clipper.cli.outcome import BadUsage
from clipper.cli.plot import require_matplotlib
from clipper.cli.since import parse_time

RECORD = record(
    7,
    arms=("ash", "birch"),
    outputs=([0.5, 0.5], None),
    losses=(0.0, None),
    uid="ann",
    query_id="q-7",
    answer=[0.5, 0.5],
    answer_loss=0.0,
    label={"digit": 3},
    input=np.array([1.5, -2.0]).tobytes(),
    input_digest=b"\x00\xff",
)


def test_a_line_of_json_has_every_column(tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    assert export([RECORD, record(8)], path, "doubles") == 2
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert tuple(first) == tuple(second) == COLUMNS
    assert (first["input"], first["label"], first["outputs"]) == ([1.5, -2.0], {"digit": 3}, [[0.5, 0.5], None])
    assert (first["input_digest"], second["input"], second["uid"]) == ("AP8=", None, None)


TENSORS = [{"name": "x", "datatype": "FP32", "shape": [-1]}, {"name": "y", "datatype": "BYTES", "shape": []}]


@pytest.mark.parametrize(
    ("input_type", "inputs", "row"),
    [
        ("tensors", TENSORS, b"\1"),
        ("tensors", TENSORS[:1], b"\1\0\0\0\0\0\0\0\0\0\x80\x3f\0"),
        ("tensors", TENSORS, b"\1\0\0\0\0\0\0\0\0\0\x80\x3f\7\0\0\0a"),
        ("doubles", (), b"\1\2\3"),
        ("json", (), b"\xff"),
        ("strings", (), b"\xff"),
    ],
)
def test_an_input_of_an_earlier_input_type_is_its_bytes(tmp_path, input_type, inputs, row) -> None:
    old = record(7, input=row)
    assert export([old], tmp_path / "log.jsonl", input_type, inputs) == 1
    assert json.loads((tmp_path / "log.jsonl").read_text())["input"] == base64.b64encode(row).decode()
    assert export([old], tmp_path / "log.parquet", input_type, inputs) == 1
    (found,) = pyarrow.parquet.read_table(tmp_path / "log.parquet").column("input").to_pylist()
    assert found == (None if input_type in {"doubles", "strings"} else json.dumps(base64.b64encode(row).decode()))


def test_parquet_has_typed_columns(tmp_path) -> None:
    path = tmp_path / "log.parquet"
    assert export([RECORD, record(8)], path, "doubles") == 2
    first, second = pyarrow.parquet.read_table(path).to_pylist()
    assert tuple(first) == COLUMNS
    assert first["input"] == [1.5, -2.0]
    assert json.loads(first["label"]) == {"digit": 3}
    assert [json.loads(text) for text in first["outputs"]] == [[0.5, 0.5], None]
    assert first["losses"] == [0.0, None]
    assert first["accepted_at"] == datetime.fromtimestamp(RECORD.accepted_at, UTC)
    assert (first["input_digest"], second["input"]) == (b"\x00\xff", None)


@pytest.mark.parametrize(
    ("input_type", "row", "value"),
    [
        ("floats", np.array([0.5], "<f4").tobytes(), [0.5]),
        ("integers", np.array([-3], "<i4").tobytes(), [-3]),
        ("strings", "Grüße".encode(), "Grüße"),
        ("bytes", b"\x00\x01", b"\x00\x01"),
        ("json", b'{"a":[1]}', '{"a": [1]}'),
    ],
)
def test_the_input_has_the_applications_type(tmp_path, input_type, row, value) -> None:
    path = tmp_path / "log.parquet"
    export([record(input=row)], path, input_type)
    assert pyarrow.parquet.read_table(path).to_pylist()[0]["input"] == value


def test_an_empty_log_is_a_file_without_rows(tmp_path) -> None:
    for suffix in ("jsonl", "parquet"):
        assert export([], tmp_path / f"log.{suffix}", "doubles") == 0
    assert pyarrow.parquet.read_table(tmp_path / "log.parquet").num_rows == 0
    assert (tmp_path / "log.jsonl").read_text() == ""


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_what_breaks_off_leaves_nothing_behind(tmp_path, suffix) -> None:
    path = tmp_path / f"log.{suffix}"
    path.write_text("the one before")

    def breaking():
        yield RECORD
        raise RuntimeError("the server went away")

    with pytest.raises(RuntimeError, match="went away"):
        export(breaking(), path, "doubles")
    assert path.read_text() == "the one before"
    assert list(tmp_path.iterdir()) == [path]


def test_memory_is_bounded_by_groups_of_rows(tmp_path) -> None:
    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        export((record(number) for number in range(count)), tmp_path / "log.parquet", "doubles")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak_bytes(6 * ROWS_AT_A_TIME) < 1.2 * peak_bytes(2 * ROWS_AT_A_TIME)


def test_another_kind_of_file_is_refused_with_the_kinds_there_are(tmp_path) -> None:
    with pytest.raises(BadUsage, match=r"\.parquet or \.jsonl"):
        export([], tmp_path / "log.csv", "doubles")


def test_without_pyarrow_the_sentence_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadUsage, match=r"clipper-serving\[export\]"):
        export([], tmp_path / "log.parquet", "doubles")
    assert export([RECORD], tmp_path / "log.jsonl", "doubles") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_without_matplotlib_the_sentence_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr("clipper.cli.plot.find_spec", lambda _name: None)
    with pytest.raises(BadUsage, match=r"clipper-serving\[plot\]"):
        require_matplotlib(Path("weights.png"))


@pytest.mark.parametrize(("text", "age_s"), [("45s", 45), ("1.5h", 5400), ("7d", 604_800), ("2w", 1_209_600)])
def test_an_age_is_that_long_before_now(monkeypatch, text, age_s) -> None:
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert parse_time(text, "--since") == 1e9 - age_s


def test_a_date_is_in_utc_unless_it_says_otherwise() -> None:
    assert parse_time("2025-01-31", "--since") == datetime(2025, 1, 31, tzinfo=UTC).timestamp()
    assert parse_time("2025-01-31T10:00+02:00", "--since") == datetime(2025, 1, 31, 8, tzinfo=UTC).timestamp()
    assert parse_time(None, "--since") is None


@pytest.mark.parametrize("text", ["yesterday", "7", "d", "-3d", ""])
def test_a_time_that_is_none_is_refused_with_examples(text) -> None:
    with pytest.raises(BadUsage, match="7d, 12h"):
        parse_time(text, "--since")
