"""What docs/policies.md claims about options, and its example of a policy of one's own, installed as it is written."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT, blocks

from clipper.errors import InvalidRequest
from clipper.selection import LearningPolicy, policy_named, policy_names

DOCUMENT = ROOT / "docs" / "policies.md"
TEXT = DOCUMENT.read_text()
ROW = re.compile(r"^\| `([a-z_0-9]+)` \| (\S+) \| .+ \|$", re.MULTILINE)
COMMON = set(LearningPolicy.model_fields)


def _section(title: str) -> dict[str, str]:
    body = re.search(rf"^##+ {re.escape(title)}$(.*?)^##", TEXT, re.MULTILINE | re.DOTALL)
    assert body, title
    return dict(ROW.findall(body[1]))


def _written(default: object) -> str:
    if default is None:
        return "none"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default).removesuffix('.0')}`"


@pytest.mark.parametrize("name", [name for name in policy_names() if name != "single"])
def test_the_options_of_every_policy_are_documented_with_their_defaults(name: str) -> None:
    fields = type(policy_named(name, {})).model_fields
    own = {option: _written(field.default) for option, field in fields.items() if option not in COMMON}
    assert _section(f"`{name}`") == own


def test_the_options_of_all_policies_are_documented_with_their_defaults() -> None:
    defaults = {option: _written(field.default) for option, field in LearningPolicy.model_fields.items()}
    assert _section("Options of every policy") == defaults


def test_every_policy_is_recommended_for_something() -> None:
    recommended = TEXT.partition("## Which one")[2].partition("\n\n`exp3`")[0]
    assert set(policy_names()) == set(re.findall(r"`([a-z0-9_]+)`", recommended))


def test_the_policies_of_the_paper_are_as_written() -> None:
    written = re.findall(r"`(exp\d)` with\s+`(\{.*?\})`", TEXT)
    assert [name for name, _ in written] == ["exp3", "exp4"]
    for name, options in written:
        assert policy_named(name, json.loads(options)).half_life_feedbacks is None


def test_the_example_is_installed_and_used_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for block in blocks(DOCUMENT):
        if named := re.match(r"# (champion\.py|pyproject\.toml)\n", block.text):
            (source / named[1]).write_text(block.text)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    install += ["--no-build-isolation", "--no-deps", "--target", str(target), str(source)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(target)
    policy = policy_named("champion", {"champion": "old", "challenge": 0.2})
    assert policy.distribution(["old", "new"], {}) == pytest.approx([0.9, 0.1])
    with pytest.raises(InvalidRequest, match="'champion' of the policy 'champion' is missing"):
        policy_named("champion", {})
    monkeypatch.delitem(sys.modules, "champion")
