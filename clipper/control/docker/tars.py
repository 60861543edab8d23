"""Tars for the engine: what goes into a build's context or into a volume. The same files make the same bytes."""

import io
import os
import tarfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO

CHUNK_BYTES = 1 << 20


def add_file(tar: tarfile.TarFile, name: str, content: bytes | Path, *, mode: int = 0o644, owner: int = 0) -> None:
    """Add bytes, or the content of a file, under ``name``."""
    member = tarfile.TarInfo(name)
    member.mode, member.uid, member.gid = mode, owner, owner
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        member.size = len(content) if isinstance(content, bytes) else os.fstat(file.fileno()).st_size
        tar.addfile(member, file)


def add_directory(tar: tarfile.TarFile, name: str) -> None:
    """Add an empty directory that everybody may read."""
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(member)


def add_tree(tar: tarfile.TarFile, name: str, directory: Path) -> None:
    """Add a directory with all the files below it."""
    add_directory(tar, name)
    for path in sorted(directory.rglob("*")):
        below = f"{name}/{path.relative_to(directory).as_posix()}"
        if path.is_dir():
            add_directory(tar, below)
        elif path.is_file():
            add_file(tar, below, path)


def small_tar(name: str, content: bytes, *, mode: int = 0o644, owner: int = 0) -> bytes:
    """A tar of one small file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_file(tar, name, content, mode=mode, owner=owner)
    return buffer.getvalue()


def streamed(write: Callable[[IO[bytes]], None]) -> Generator[bytes, None, None]:
    """The bytes that ``write`` writes, as they come: a model of gigabytes is kept neither in memory nor on the disk.

    Whoever stops in the middle closes the iterator; ``write`` then ends with an `OSError` in its thread.

    Raises:
        OSError: ``write`` raised it.
    """
    read_fd, write_fd = os.pipe()
    failures: list[OSError] = []

    def run() -> None:
        try:
            with os.fdopen(write_fd, "wb") as sink:
                write(sink)
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="tar", daemon=True)
    thread.start()
    try:
        with os.fdopen(read_fd, "rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk
    finally:
        thread.join()
    if failures:
        raise failures[0]
