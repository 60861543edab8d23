"""Reads the project's documents: their fenced blocks, links and tables."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
ROW = re.compile(r"^\| `([a-z_]+)` \|\s*(.*?)\s*\| .* \|$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language tag, its text, and the line of the document where it starts."""

    language: str
    text: str
    line: int


def blocks(document: Path) -> list[Block]:
    """All fenced blocks in their order."""
    text = document.read_text()
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(text)]


def local_links(document: Path) -> list[Path]:
    """The files that the document links to or shows."""
    targets = [target for target in LINK.findall(document.read_text()) if "://" not in target]
    return [(document.parent / target).resolve() for target in targets]


def table_rows(document: Path) -> dict[str, str]:
    """First column, in code marks, to second column, of every table of the document."""
    return dict(ROW.findall(document.read_text()))
