"""`clipper deploy --requirements FILE`, from a wheel made by hand: no network."""

import json

import pytest
from wheels import make_wheel

SOURCE = "import tinymodel\n\ndef predict(batch):\n    return [tinymodel.ANSWER + len(text) for text in batch]\n"


@pytest.fixture
def model(tmp_path):
    make_wheel(tmp_path / "dist")
    (tmp_path / "model.py").write_text(SOURCE)
    (tmp_path / "needs.txt").write_text("./dist/tinymodel-1.0-py3-none-any.whl\n")
    return "model.py"


def test_a_model_runs_with_what_its_file_lists_and_the_progress_says_so(run, model):
    deployed = run("deploy", "needy", "1", model, "--input-type", "strings", "--requirements", "needs.txt")
    assert deployed.returncode == 0, deployed.stderr
    assert "installing requirements" in deployed.stderr
    created = run("app", "create", "needs", "--input-type", "strings", "--slo-ms", "5000", "--model", "needy")
    assert created.returncode == 0, created.stderr
    assert json.loads(run("predict", "needs", '"abc"').stdout)["output"] == 45


def test_without_them_the_status_says_what_is_missing(run, model):
    deployed = run("deploy", "missing", "1", model, "--input-type", "strings")
    assert deployed.returncode == 1
    assert "deploy the model with requirements=['tinymodel']" in deployed.stderr


def test_a_line_that_cannot_travel_is_refused_before_anything_is_sent(run, model, tmp_path):
    (tmp_path / "needs.txt").write_text("-e ../elsewhere\n")
    refused = run("deploy", "refused", "1", model, "--input-type", "strings", "--requirements", "needs.txt")
    assert refused.returncode == 2
    assert "'-e ../elsewhere' in 'needs.txt' cannot go with a model" in refused.stderr
