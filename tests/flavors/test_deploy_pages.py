"""The pages about deploying a model: every block runs as it is written, in its order, against a server of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import ROOT, Block, blocks, local_links
from flavor_harness import needs
from reading import RUN, SHOWN, Session

PAGES = ROOT / "docs" / "deploy"
OF_FRAMEWORKS = {"pytorch.md", "tensorflow.md", "onnx.md", "mlflow.md"}
ALL_PAGES = sorted(PAGES.glob("*.md"))
PLAIN_PAGES = [page for page in ALL_PAGES if page.name not in OF_FRAMEWORKS]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    # Frameworks warn about themselves and each other.
    reader = Session(tmp_path, warnings="default", block_timeout_s=150)
    yield reader
    reader.stop()


def run(page: Path, session: Session) -> None:
    to_run = [block for block in blocks(page) if block.language in RUN]
    assert to_run
    if page.name != "README.md":
        session.run(Block("bash", "clipper up --data-dir pages", 0))
    for block in to_run:
        session.run(block)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", PLAIN_PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page: Path, session: Session) -> None:
    run(page, session)


@needs("torch")
def test_every_block_about_pytorch_runs(session: Session) -> None:
    run(PAGES / "pytorch.md", session)


@needs("tensorflow")
def test_every_block_about_tensorflow_runs(session: Session) -> None:
    run(PAGES / "tensorflow.md", session)


@needs("onnxruntime", "skl2onnx")
def test_every_block_about_onnx_runs(session: Session) -> None:
    run(PAGES / "onnx.md", session)


@needs("mlflow", "pandas")
def test_every_block_about_mlflow_runs(session: Session) -> None:
    run(PAGES / "mlflow.md", session)


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_says_whether_it_is_run_and_every_link_leads_somewhere(page: Path) -> None:
    assert not [block.line for block in blocks(page) if block.language not in RUN | SHOWN]
    assert not [link for link in local_links(page) if not link.exists()]
