"""Policies of a user's own, in installed packages: found by name, imported when asked for, contained when broken."""

import subprocess
import sys

import pytest

from clipper.errors import InvalidRequest
from clipper.selection import Observation, Policy, policy_named, policy_names

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "steady-policies"
version = "1.0"

[project.entry-points."clipper.policies"]
steady = "steady_policies:Steady"
broken = "steady_policies.broken:Anything"
not_a_policy = "steady_policies:NotAPolicy"
bare = "steady_policies:NotAPolicy"
exp3 = "steady_policies:NotAPolicy"
odd = "steady_policies:Odd"
"""

POLICIES = """
from clipper.selection import LearningPolicy


class Steady(LearningPolicy):
    name = "steady"
    favourite: str = "a"

    def distribution(self, arms, state):
        return [0.9 if arm == self.favourite else 0.1 / (len(arms) - 1) for arm in arms]


class Odd(Steady):
    name = "odd"
    said: dict = {}

    def __getattribute__(self, name):
        said = super().__getattribute__("__dict__").get("said", {})
        return said[name] if name in said else super().__getattribute__(name)


class NotAPolicy:
    name = "not_a_policy"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PROJECT)
    package = source / "steady_policies"
    package.mkdir()
    (package / "__init__.py").write_text(POLICIES)
    (package / "broken.py").write_text("raise RuntimeError('no such accelerator')")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    install += ["--no-build-isolation", "--no-deps", "--target", str(target), str(source)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def plugins(installed, monkeypatch):
    monkeypatch.syspath_prepend(installed)
    yield
    for module in [name for name in sys.modules if name.startswith("steady_policies")]:
        monkeypatch.delitem(sys.modules, module)


def test_a_policy_of_an_installed_package_is_used_by_its_name(plugins):
    assert "steady" in policy_names()
    assert "steady_policies" not in sys.modules
    policy = policy_named("steady", {"favourite": "b", "half_life_feedbacks": 50})
    assert isinstance(policy, Policy)
    assert policy.distribution(["a", "b", "c"], {}) == [0.05, 0.9, 0.05]
    assert policy.half_life_feedbacks == 50
    assert policy.observe(Observation(["a", "b"], {"b": 1.0}, {"b": 0.9}))["b"]["plays"] == 1.0


def test_options_that_it_does_not_take_are_refused(plugins):
    with pytest.raises(InvalidRequest, match=r"^'hated' of the policy 'steady' is not a field that is known\.$"):
        policy_named("steady", {"hated": "b"})
    with pytest.raises(InvalidRequest, match=r"'bare' of the installed package steady-policies .* the options hated: "):
        policy_named("bare", {"hated": "b"})


def test_a_package_that_cannot_be_imported_is_a_sentence_and_harms_no_other_policy(plugins, caplog):
    with pytest.raises(InvalidRequest, match=r"'broken' .* with no options: RuntimeError: no such accelerator\."):
        policy_named("broken", {})
    assert "no such accelerator" in caplog.text
    assert policy_named("exp4", {}).name == "exp4"


def test_what_lacks_the_members_of_a_policy_is_none(plugins):
    with pytest.raises(InvalidRequest, match=r"'not_a_policy' is none: it lacks combine, distribution, "):
        policy_named("not_a_policy", {})


def test_a_package_cannot_take_the_name_of_a_policy_that_is_built_in(plugins):
    assert policy_named("exp3", {}).learns
    assert policy_names().count("exp3") == 1


def test_a_package_that_is_gone_is_an_unknown_policy():
    with pytest.raises(InvalidRequest, match="policy must be one of"):
        policy_named("steady", {})


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", "single"),
        ("max_models", 0),
        ("half_life_feedbacks", 0),
        ("half_life_feedbacks", float("nan")),
        ("prior_feedbacks", "many"),
        ("prior_feedbacks", float("inf")),
        ("new_version", "restarted"),
        ("is_ensemble", None),
        ("learns", 1),
        ("sticky", "no"),
    ],
)
def test_what_it_cannot_be_is_refused_before_it_harms(plugins, member, value):
    with pytest.raises(InvalidRequest, match=f"cannot be used: {member} must be .*, not "):
        policy_named("odd", {"said": {member: value}})
    assert policy_named("odd", {}).name == "odd"
