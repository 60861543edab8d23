"""What the documents claim beside their programs: links, settings, metrics."""

import subprocess
import sys
from pathlib import Path

import pytest
from documents import DOCUMENTS, ROOT, local_links, table_rows

from clipper.domain import Application, VersionSpec
from clipper.settings import Settings

CONFIGURATION = ROOT / "docs" / "configuration.md"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_local_link_leads_somewhere(document: Path) -> None:
    missing = [link for link in local_links(document) if not link.exists()]
    assert not missing


def test_every_setting_is_documented_with_its_default() -> None:
    written = table_rows(CONFIGURATION)
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    undocumented = defaults.keys() - written.keys()
    assert not undocumented
    differing = {
        name: written[name]
        for name, default in defaults.items()
        if written[name] != ("none" if default is None else f"`{default}`")
    }
    assert not differing


def test_nothing_is_documented_that_is_not_a_field() -> None:
    known = Settings.model_fields.keys() | Application.model_fields.keys() | VersionSpec.model_fields.keys()
    assert table_rows(CONFIGURATION).keys() <= known


def test_every_field_of_applications_and_versions_is_documented() -> None:
    fields = Application.model_fields.keys() | VersionSpec.model_fields.keys()
    assert not fields - table_rows(CONFIGURATION).keys()


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    publish = (
        "import publish, sys; sys.exit(publish.with_figures(publish.README.read_text()) != publish.README.read_text()"
        " or any(publish.written(each) != (publish.DOCS / each.file).read_text() for each in publish.DOCUMENTS))"
    )
    done = subprocess.run(
        [sys.executable, "-c", publish], cwd=ROOT / "benchmarks", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr or "run: python benchmarks/publish.py"
