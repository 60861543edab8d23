"""One server a data directory: a lock that the kernel lets go when its holder dies, however it dies."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from clipper.errors import Conflict

LOCK_NAME = "lock"


class DataDirLock:
    """Holds the data directory from construction to `release` (or the end of the process).

    Children do not inherit the lock: Python opens files close-on-exec.

    Raises:
        Conflict: Another server holds it; the sentence has its pid.
    """

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._fd: int | None = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip()
            self.release()
            raise Conflict(
                f"The data directory {data_dir.absolute()} is used by the server with pid {holder or 'unknown'}. "
                "Stop that server, or choose another --data-dir."
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let the next server in; releasing twice is harmless."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
