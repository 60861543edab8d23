"""Logs of replicas: bounded, readable over restarts, gone with their version."""

import json

import pytest

from clipper.control import logfiles
from clipper.control.logfiles import LogFiles


@pytest.fixture
def logs(tmp_path):
    return LogFiles(tmp_path)


def write(logs, text, replica_id="svm.1.g1.r0"):
    file, start = logs.open(replica_id)
    with file:
        file.write(text.encode())
    return start


def event(level, **fields):
    return json.dumps({"time": "now", "level": level, **fields}, separators=(",", ":")) + "\n"


def test_the_tail_goes_over_restarts_and_rotation(logs, monkeypatch):
    monkeypatch.setattr(logfiles, "MAX_LOG_BYTES", 20)
    write(logs, "one\ntwo\n")
    write(logs, "three\nfour\nfive\n")
    logs.bound()
    write(logs, "six\n")
    assert logs.tail("svm.1.g1.r0", 3) == "four\nfive\nsix\n"
    assert logs.tail("svm.1.g1.r0", 0) == ""
    assert logs.tail("svm.1.g1.r1", 3) is None


def test_a_writer_goes_on_after_its_log_was_cut(logs, tmp_path, monkeypatch):
    monkeypatch.setattr(logfiles, "MAX_LOG_BYTES", 100)
    monkeypatch.setattr(logfiles, "KEPT_LOG_BYTES", 10)
    file, _ = logs.open("svm.1.g1.r0")
    with file:
        file.write(b"x" * 1000)
        logs.bound()
        file.write(b"after\n")
    assert (tmp_path / "svm.1.g1.r0.log").read_text() == "after\n"
    assert (tmp_path / "svm.1.g1.r0.log.1").read_text() == "x" * 10


def test_a_log_is_cut_even_where_its_end_cannot_be_kept(logs, tmp_path, monkeypatch):
    """Such as on a disk that this very log has filled."""
    monkeypatch.setattr(logfiles, "MAX_LOG_BYTES", 100)
    (tmp_path / "svm.1.g1.r0.log.1").mkdir()
    write(logs, "x" * 1000)
    logs.bound()
    assert (tmp_path / "svm.1.g1.r0.log").read_text() == ""


def test_last_words_begin_where_the_run_did(logs):
    write(logs, "of the run before\n")
    start = write(logs, "of this run\n")
    assert logs.last_words("svm.1.g1.r0", start) == "of this run"


def test_last_words_survive_a_cut_in_between(logs, monkeypatch):
    write(logs, "x" * 100)
    start = write(logs, "y" * 100)
    monkeypatch.setattr(logfiles, "MAX_LOG_BYTES", 10)
    logs.bound()
    write(logs, "end\n")
    assert logs.last_words("svm.1.g1.r0", start) == "end"


def test_the_runtime_s_own_lines_shrink_to_what_went_wrong(logs):
    start = write(
        logs,
        event("info", event="ready")
        + "printed by the model\n"
        + event("warning", event="w", message="versions differ")
        + event("error", event="failed", message="m", traceback=["Traceback:\n", "ValueError: 3\n"])
        + '{"time": not json\n',
    )
    words = 'printed by the model\nversions differ\nTraceback:\nValueError: 3\n{"time": not json'
    assert logs.last_words("svm.1.g1.r0", start) == words


def test_why_a_model_could_not_be_loaded_is_found_in_what_its_replica_logged(logs):
    write(logs, event("error", event="failed", message="an earlier run's"))
    start = write(
        logs, "noise\n" + event("error", event="failed", message="no such file", traceback="...") + "{broken\n"
    )
    assert logs.why_failed("svm.1.g1.r0", start) == "no such file"
    assert logs.why_failed("svm.1.g1.r0", start + 10_000) is not None, "cut since: the whole log counts"
    assert logs.why_failed("svm.1.g1.r1", 0) is None


def test_who_said_nothing_has_no_last_words(logs):
    assert logs.last_words("svm.1.g1.r0", write(logs, event("info", event="ready"))) is None
    assert logs.last_words("nobody", 0) is None


def test_bytes_that_are_no_text_are_shown_not_raised(logs):
    file, start = logs.open("svm.1.g1.r0")
    with file:
        file.write(b"\xff\xfe\n")
    assert logs.last_words("svm.1.g1.r0", start) == "\ufffd\ufffd"


def test_logs_of_versions_that_are_gone_are_removed(logs, tmp_path):
    for replica_id in ("svm.1.g1.r0", "svm.1.g12.r0"):
        write(logs, "x", replica_id)
    (tmp_path / "svm.1.g1.r0.log.1").write_text("older")
    logs.collect({12})
    assert [path.name for path in tmp_path.iterdir()] == ["svm.1.g12.r0.log"]
