"""A policy of a user's own, in an installed package of their own, serves and learns in a real server."""

import os
import signal
import subprocess
import sys

import cloudpickle
import pytest
from server_process import ServerProcess

import clipper

cloudpickle.register_pickle_by_value(sys.modules[__name__])

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "stubborn-policies"
version = "1.0"

[project.entry-points."clipper.policies"]
stubborn = "stubborn_policies:Stubborn"
"""

POLICY = """
from clipper.selection import LearningPolicy


class Stubborn(LearningPolicy):
    '''Asks the first model until it was wrong three times, then the last one; raises once that was wrong too.'''

    name = "stubborn"
    patience: int = 3

    def distribution(self, arms, state):
        losses = [state[arm]["loss"] if arm in state else 0.0 for arm in arms]
        if losses[-1] > 0:
            raise RuntimeError("nobody is left")
        first = losses[0] < self.patience - 0.5
        return [float(index == (0 if first else len(arms) - 1)) for index in range(len(arms))]
"""


def answers(label):
    def predict(batch):
        return [label] * len(batch)

    return predict


@pytest.fixture
def server(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    (source / "stubborn_policies").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "stubborn_policies" / "__init__.py").write_text(POLICY)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    install += ["--no-build-isolation", "--no-deps", "--target", str(site), str(source)]
    subprocess.run(install, check=True)
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    server = ServerProcess(tmp_path / "data", PYTHONPATH=os.pathsep.join(paths))
    yield server
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_policy_of_a_user_s_own_decides_learns_and_is_contained_when_it_raises(server):
    cl = server.cl
    cl.deploy_model("right", 1, answers("cat"), input_type="doubles")
    cl.deploy_model("wrong", 1, answers("dog"), input_type="doubles")
    cl.register_application(
        "pets",
        input_type="doubles",
        slo_ms=2000,
        models=["wrong", "right"],
        policy={"name": "stubborn", "options": {"patience": 3, "half_life_feedbacks": None}},
    )
    with pytest.raises(clipper.ClipperError, match="'hurry' of the policy 'stubborn'"):
        cl.register_application(
            "hasty", input_type="doubles", slo_ms=20, policy={"name": "stubborn", "options": {"hurry": 1}}
        )
    asked = []
    for number in range(6):
        prediction = cl.predict("pets", [float(number)])
        asked.append((*prediction.models, prediction.output))
        cl.update("pets", query_id=prediction.query_id, label="cat")
    assert asked == [("wrong:1", "dog")] * 3 + [("right:1", "cat")] * 3

    surprised = cl.predict("pets", [6.0])
    cl.update("pets", query_id=surprised.query_id, label="cow")
    contained = cl.predict("pets", [7.0])
    assert contained.models == ("right:1",)  # the best known one
    assert (contained.output, contained.default) == ("cat", False)
