"""Every command and every program in the documents runs as it is written, against a server of its own."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from documents import DOCUMENTS, ROOT, Block, blocks
from reading import RUN, SHOWN, Session


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    reader = Session(tmp_path)
    yield reader
    reader.stop()


def _with_blocks() -> list[Path]:
    return [document for document in DOCUMENTS if any(block.language in RUN for block in blocks(document))]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("document", _with_blocks(), ids=lambda document: document.name)
def test_every_block_runs_in_the_order_in_which_it_is_read(document: Path, session: Session) -> None:
    to_run = [block for block in blocks(document) if block.language in RUN]
    if document.name == "operations.md":
        session.run(Block("bash", "clipper up --data-dir ops", 0))
    for block in to_run:
        session.run(block)


def test_every_metric_of_a_server_is_documented_and_no_other(session: Session) -> None:
    session.run(Block("bash", "clipper up --data-dir metrics", 0))
    exposed = httpx.get(session.addresses["http://127.0.0.1:1337"] + "/metrics").raise_for_status().text
    documented = (ROOT / "docs" / "operations.md").read_text()
    assert set(re.findall(r"`(clipper_\w+)`", documented)) == set(
        re.findall(r"^# TYPE (clipper_(?!live_)\w+)", exposed, re.MULTILINE)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_block_says_whether_it_is_run(document: Path) -> None:
    untagged = [block.line for block in blocks(document) if block.language not in RUN | SHOWN]
    assert not untagged
