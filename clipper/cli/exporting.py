"""The feedback log as a file: one JSON object a line, or Parquet.

Every record becomes one row with the columns of `COLUMNS`. JSON values whose type is the application's business
(outputs, answer, label) are JSON text in Parquet; the input, where the log has it, is a value of the application's
input type in either. One that was recorded while the application took something else is its bytes: base64 in JSON, null
in a typed column of Parquet.
"""

import base64
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from clipper.cli.outcome import BadUsage
from clipper.domain import InputType
from clipper.feedback import FeedbackRecord
from clipper.inputs import decode_input
from clipper.tensors import parse_tensors
from clipper_container.layout import Layout

ROWS_AT_A_TIME = 2_000
"""Rows that are held in memory, and of one row group of a Parquet file."""
COLUMNS = (
    "feedback_id", "query_id", "uid", "application", "generation", "accepted_at", "answered_at", "policy",
    "full_information", "default", "models", "arms", "propensities", "outputs", "losses", "answer", "answer_loss",
    "label", "input", "input_digest",
)  # fmt: skip
_JSON_IN_PARQUET = ("answer", "label")


def export(records: Iterable[FeedbackRecord], path: Path, input_type: InputType, inputs: Sequence[Any] = ()) -> int:
    """Write ``path``, which appears when it is complete; how many records it has. ``inputs`` are the tensors.

    Raises:
        BadUsage: The name ends otherwise than in .jsonl or .parquet, or the latter needs a package that is missing.
    """
    write = {".jsonl": _write_jsonl, ".parquet": _write_parquet}.get(path.suffix)
    if write is None:
        raise BadUsage(f"The file's name ends in .parquet or .jsonl; '{path.name}' does not.")
    layout = Layout(parse_tensors(inputs)) if inputs else None
    rows = (_row(record, input_type, layout) for record in records)
    with _complete_or_not_at_all(path) as partial:
        return write(rows, partial, input_type)


@contextmanager
def _complete_or_not_at_all(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise BadUsage(f"'{path}' cannot be written: {error.strerror or error}.") from None
    finally:
        partial.unlink(missing_ok=True)


def _row(record: FeedbackRecord, input_type: InputType, layout: Layout | None) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in COLUMNS}
    if record.input is not None:
        row["input"] = _input(record.input, input_type, layout)
    return row


def _input(row: bytes, input_type: InputType, layout: Layout | None) -> Any:
    """The input; its bytes where the application took something else when it was recorded."""
    try:
        return decode_input(input_type, row, layout)
    except (ValueError, msgspec.MsgspecError):
        return row


def _write_jsonl(rows: Iterable[Mapping[str, Any]], path: Path, _input_type: InputType) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007  # the last number is the count
            file.write(json.dumps(row, default=_as_text, ensure_ascii=False, separators=(",", ":")) + "\n")
    return count


def _as_text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _write_parquet(rows: Iterator[dict[str, Any]], path: Path, input_type: InputType) -> int:
    try:
        import pyarrow as pa  # noqa: PLC0415  # an extra
        from pyarrow import parquet  # noqa: PLC0415  # as above
    except ImportError:
        raise BadUsage(
            "A .parquet file needs pyarrow: pip install 'clipper-serving[export]'. A .jsonl file needs nothing."
        ) from None
    schema = _schema(pa, input_type)
    count = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROWS_AT_A_TIME)):
            columns = [[_cell(name, row[name], input_type) for row in group] for name in COLUMNS]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(group)
    return count


def _cell(name: str, value: Any, input_type: InputType) -> Any:
    if name in {"accepted_at", "answered_at"}:
        return datetime.fromtimestamp(value, UTC)
    if name == "outputs":
        return [json.dumps(output) for output in value]
    if name == "input" and isinstance(value, bytes) and input_type not in {"bytes", "json", "tensors"}:
        return None
    if name in _JSON_IN_PARQUET or (name == "input" and input_type in {"json", "tensors"} and value is not None):
        return json.dumps(value, default=_as_text)
    return value


def _schema(pa: Any, input_type: InputType) -> Any:
    text, number, texts = pa.string(), pa.float64(), pa.list_(pa.string())
    moment = pa.timestamp("us", tz="UTC")
    inputs: Mapping[InputType, Callable[[], Any]] = {
        "doubles": lambda: pa.list_(pa.float64()),
        "floats": lambda: pa.list_(pa.float32()),
        "integers": lambda: pa.list_(pa.int32()),
        "strings": pa.string,
        "bytes": pa.binary,
        "json": pa.string,
        "tensors": pa.string,
    }
    types = {
        "feedback_id": pa.binary(),
        "generation": pa.int64(),
        "accepted_at": moment,
        "answered_at": moment,
        "full_information": pa.bool_(),
        "default": pa.bool_(),
        "models": texts,
        "arms": texts,
        "propensities": pa.list_(number),
        "outputs": texts,
        "losses": pa.list_(number),
        "answer_loss": number,
        "input": inputs[input_type](),
        "input_digest": pa.binary(),
    }
    return pa.schema([(name, types.get(name, text)) for name in COLUMNS])
