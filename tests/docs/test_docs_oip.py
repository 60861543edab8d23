"""The conformance tables of the Open Inference Protocol name tests that there are, in the files that they say."""

import re

import pytest
from documents import ROOT


@pytest.mark.parametrize(
    ("document", "chapter"), [("oip.md", "Conformance"), ("grpc.md", "The Open Inference Protocol")]
)
def test_every_line_of_a_conformance_table_names_tests_that_exist(document, chapter):
    written = (ROOT / "docs" / document).read_text().partition(f"## {chapter}\n")[2]
    files = [path for name in re.findall(r"`(tests/\S+?\.py)`", written) for path in ROOT.glob(name)]
    there = set(re.findall(r"^(?:async )?def (test_\w+)", "".join(map(_text, files)), re.MULTILINE))
    rows = [line for line in written.splitlines() if line.startswith("| ")][1:]
    named = [set(re.findall(r"`(test_\w+)`", row)) for row in rows]
    assert len(rows) > 20
    assert all(named)
    assert not set().union(*named) - there


def _text(path):
    return path.read_text()
