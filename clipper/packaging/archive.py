"""A deterministic tar: the same files are the same bytes, and so the same artifact, whenever it is made."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

FILE_MODE = 0o644


def write_tar(target: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write ``files`` (name in the archive -> content, or the file that holds it) to ``target``.

    Names are sorted; owners, times and modes are not taken over. Files are copied through, never held in memory.
    """
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            content = files[name]
            member = tarfile.TarInfo(name)
            member.mode = FILE_MODE
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
                continue
            with content.open("rb") as file:
                member.size = content.stat().st_size
                archive.addfile(member, file)


def files_below(directory: Path) -> dict[str, Path]:
    """Every file below ``directory`` by its name in the archive; compiled Python is left out."""
    return {
        path.relative_to(directory).as_posix(): path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
