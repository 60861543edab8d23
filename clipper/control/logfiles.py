"""One bounded log file a replica. The replica appends to it by itself, so printing never waits for the server.

The size is bounded by copying the end away and truncating in place (as logrotate's ``copytruncate``): the replica holds
the file open in append mode and goes on at the new end. What it prints between the two steps is lost.
"""

import json
import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

MAX_LOG_BYTES = 4 << 20
KEPT_LOG_BYTES = 1 << 20
LAST_WORDS_LINES = 20
LAST_WORDS_CHARS = 4096
LAST_WORDS_READ_BYTES = 64 << 10
MAX_READ_BYTES = 1 << 20

_log = logging.getLogger(__name__)

_GENERATION = re.compile(r"\.g(\d+)\.r\d+\.log(\.1)?$")
_REPLICA_ID = re.compile(r"[a-z0-9][-a-z0-9.]{0,199}")


class LogFiles:
    """The logs of one host's replicas: ``<replica id>.log``, and ``<replica id>.log.1`` before it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def open(self, replica_id: str) -> tuple[IO[bytes], int]:
        """The log, opened for appending, and its size so far: where this run's words start."""
        file = self._path(replica_id).open("ab", buffering=0)
        return file, file.tell()

    def append(self, replica_id: str, text: str) -> None:
        """Add what was said before the replica could say anything itself.

        Raises:
            OSError: The log cannot be written.
        """
        with self._path(replica_id).open("ab") as file:
            file.write(text.encode("utf-8", "replace"))

    def tail(self, replica_id: str, lines: int) -> str | None:
        """The last lines over all runs; None when there is no log of this id."""
        if not _REPLICA_ID.fullmatch(replica_id) or not self._path(replica_id).is_file():
            return None
        text = _read_end(self._path(replica_id), MAX_READ_BYTES, 0)
        if text.count("\n") < lines:
            text = _read_end(self._older(replica_id), MAX_READ_BYTES, 0) + text
        return "".join(text.splitlines(keepends=True)[-lines:]) if lines > 0 else ""

    def last_words(self, replica_id: str, start: int) -> str | None:
        """The end of what one run said, which began at the offset ``start``; None when it said nothing of note."""
        lines = _read_end(self._path(replica_id), LAST_WORDS_READ_BYTES, start).splitlines()
        noted = "\n".join(words for words in map(_words, lines) if words is not None).splitlines()
        return "\n".join(noted[-LAST_WORDS_LINES:])[-LAST_WORDS_CHARS:].strip() or None

    def why_failed(self, replica_id: str, start: int) -> str | None:
        """The sentence with which a run that began at ``start`` said that its model cannot be loaded, if it did.

        It tells the same to whoever is connected, and may end before everybody is.
        """
        lines = _read_end(self._path(replica_id), LAST_WORDS_READ_BYTES, start).splitlines()
        events = (event for event in map(_event, reversed(lines)) if event is not None)
        return next((str(event["message"]) for event in events if event.get("event") == "failed"), None)

    def bound(self) -> None:
        """Cut every log that has grown over its bound."""
        for path in self._directory.glob("*.log"):
            if path.stat().st_size > MAX_LOG_BYTES:
                _cut(path)

    def collect(self, generations: Collection[int]) -> None:
        """Remove the logs of versions that are not there any more."""
        for path in self._directory.glob("*.log*"):
            match = _GENERATION.search(path.name)
            if match and int(match[1]) not in generations:
                path.unlink(missing_ok=True)

    def _path(self, replica_id: str) -> Path:
        return self._directory / f"{replica_id}.log"

    def _older(self, replica_id: str) -> Path:
        return self._directory / f"{replica_id}.log.1"


def _cut(path: Path) -> None:
    """Keep the end of the log beside it, and start it again: even where the disk is so full that nothing can be kept.

    Raises:
        OSError: The log could not be cut.
    """
    older = path.with_name(f"{path.name}.1")
    try:
        older.write_text(_read_end(path, KEPT_LOG_BYTES, 0), encoding="utf-8")
    except OSError as error:
        _log.warning("The end of %s is lost, it cannot be kept: %s.", path, error.strerror)
    with path.open("r+b") as file:
        file.truncate(0)


def _words(line: str) -> str | None:
    """What a line says to people: the runtime's own log lines (JSON) shrink to their warnings and errors."""
    event = _event(line)
    if event is None:
        return line
    if event.get("level") not in {"warning", "error"}:
        return None
    return "".join(event.get("traceback", ())).rstrip() or str(event.get("message", event.get("event", line)))


def _event(line: str) -> dict[str, Any] | None:
    """A line of the runtime's own."""
    if not line.startswith('{"time":'):
        return None
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event


def _read_end(path: Path, max_bytes: int, start: int) -> str:
    """The last ``max_bytes`` of the file, not before ``start`` (unless it was truncated since)."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - max_bytes, start if start <= size else 0))
            return file.read(max_bytes).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
