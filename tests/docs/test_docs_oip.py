"""The conformance table of the Open Inference Protocol names tests that there are."""

import re

from documents import ROOT

TESTS = (
    "server/test_oip_triton.py",
    "server/test_oip_http.py",
    "server/test_server_tensors.py",
    "frontends/test_oip_body.py",
)


def test_every_line_of_the_conformance_table_names_tests_that_exist():
    written = (ROOT / "docs" / "oip.md").read_text().partition("## Conformance")[2]
    there = set(
        re.findall(r"^def (test_\w+)", "".join((ROOT / "tests" / file).read_text() for file in TESTS), re.MULTILINE)
    )
    rows = [line for line in written.splitlines() if line.startswith("| ")][1:]
    named = [set(re.findall(r"`(test_\w+)`", row)) for row in rows]
    assert all(named)
    assert set().union(*named) <= there
