"""A model's own Python requirements: lines for pip, and the wheels among them, which travel with the model."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from clipper.errors import InvalidModel
from clipper.manifest import MAX_REQUIREMENTS

FILE_NAME = "requirements.txt"
DIRECTORY = "requirements"
"""Of an artifact: where the wheels are that the lines name."""

OPTIONS = frozenset({
    "--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--no-index", "--pre", "--prefer-binary",
    "--only-binary", "--no-binary", "--require-hashes", "--trusted-host",
})  # fmt: skip
"""What a line may tell pip about all of them."""
_ARCHIVES = (".whl", ".tar.gz", ".zip")
_CONTINUED = re.compile(r"\\\n\s*")
_COMMENT = re.compile(r"(^|\s)#.*$")

Given = str | PathLike[str] | Sequence[str] | None
"""The path of a file with requirements, or their lines; None: a requirements.txt beside the model, if there is one."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """``lines`` for pip, run where the artifact is unpacked, and the ``files`` that they name (name in it -> file)."""

    lines: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)


def read(given: Given, *, beside: Path | None) -> Requirements:
    """The requirements that were given, or those of the file ``beside`` the model.

    Raises:
        InvalidModel: The file cannot be read, or pip would not understand a line where the model will run.
    """
    if given is None:
        given = beside if beside is not None and beside.is_file() else ()
    if not isinstance(given, str | PathLike):
        return _collected(list(given), Path.cwd(), "the requirements")
    path = Path(given)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"The requirements in '{path}' cannot be read: {error}.") from error
    return _collected(_CONTINUED.sub(" ", text).splitlines(), path.absolute().parent, f"'{path}'")


def _collected(lines: list[str], directory: Path, where: str) -> Requirements:
    files: dict[str, Path] = {}
    kept = tuple(_lines(lines, directory, where, files))
    if len(kept) > MAX_REQUIREMENTS:
        raise InvalidModel(f"There are {len(kept)} lines in {where}; at most {MAX_REQUIREMENTS} are taken.")
    return Requirements(kept, files)


def _lines(lines: list[str], directory: Path, where: str, files: dict[str, Path]) -> Iterator[str]:
    for raw in lines:
        line = _COMMENT.sub("", raw).strip()
        if not line:
            continue
        if not line.isprintable():
            raise InvalidModel(f"The line {line!r} in {where} has characters that cannot be printed.")
        if line.startswith("-"):
            yield _option(line, directory, where)
        elif (archive := _local(line, directory)) is not None:
            name = f"{DIRECTORY}/{archive.name}"
            files[name] = _existing(archive, line, where)
            yield f"./{name}"
        else:
            yield _requirement(line, where)


def _option(line: str, directory: Path, where: str) -> str:
    name, _, value = re.sub(r"[=\s]+", " ", line, count=1).partition(" ")
    if name not in OPTIONS:
        raise InvalidModel(
            f"The line '{line}' in {where} cannot go with a model: write out what it refers to; "
            f"of pip's options {', '.join(sorted(o for o in OPTIONS if o.startswith('--')))} are taken."
        )
    if name in {"--find-links", "-f"} and "://" not in value:
        value = str((directory / value).resolve())
    return f"{name} {value}".strip()


def _local(line: str, directory: Path) -> Path | None:
    """The file that a line names, if it names one."""
    target = line.partition(" @ ")[2].strip() or line
    if target.startswith("file:"):
        return Path(unquote(urlsplit(target).path))
    if "://" in target or not (target.startswith((".", "/", "~")) or target.endswith(_ARCHIVES)):
        return None
    return (directory / Path(target).expanduser()).resolve()


def _existing(archive: Path, line: str, where: str) -> Path:
    if archive.is_dir():
        raise InvalidModel(
            f"The line '{line}' in {where} names a directory; build a wheel of it (pip wheel --no-deps {archive}) "
            "and name that."
        )
    if not archive.is_file():
        raise InvalidModel(f"The line '{line}' in {where} names a file, and there is no file '{archive}'.")
    return archive


def _requirement(line: str, where: str) -> str:
    try:
        Requirement(re.split(r"\s--hash[= ]", line, maxsplit=1)[0])
    except InvalidRequirement as error:
        if re.match(r"[a-z+]+://", line):
            return line
        first = str(error).partition("\n")[0]
        raise InvalidModel(f"The line '{line}' in {where} is no requirement that pip knows: {first}.") from error
    return line
