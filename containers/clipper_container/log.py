"""Structured logs: one JSON object a line, on standard error, where the manager keeps them."""

import contextlib
import os
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Level = Literal["debug", "info", "warning", "error"]
_RANK: dict[Level, int] = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class Log:
    """Writes events with the fields that every line of this replica has."""

    def __init__(self, fd: int, level: Level = "info", **fields: Any) -> None:
        self._fd = os.dup(fd)  # a model may close its standard error, and something else may then have that number
        self._level = level
        self._fields = fields

    def event(self, level: Level, event: str, **fields: Any) -> None:
        """One line. A log that cannot be written never harms the replica: its reader may be gone before it."""
        if _RANK[level] < _RANK[self._level]:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": now, "level": level, "event": event, **self._fields, **fields})
        with contextlib.suppress(OSError):
            os.write(self._fd, line + b"\n")
