import sys
import types

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import clipper

X = np.array([[0.0, 0.0], [0.0, 1.0], [4.0, 4.0], [4.0, 5.0]])
Y = np.array([0, 0, 1, 1])


@pytest.fixture(scope="module")
def estimator():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


def test_a_fitted_estimator_is_served(cl, estimator):
    stages = []
    info = cl.deploy_model("estimator", 1, estimator, num_replicas=2, on_progress=lambda p: stages.append(p.stage))
    assert info["flavor"] == "sklearn"
    assert info["input_width"] == 2
    assert info["current"] is True
    assert "scikit-learn" in info["manifest"]["packages"]
    assert stages[:2] == ["packaging", "uploading"]
    assert stages[-1] == "ready"
    cl.register_application("estimator", input_type="doubles", slo_ms=5000, models=["estimator"])
    assert [p.output for p in cl.predict_batch("estimator", X)] == [0, 0, 1, 1]
    with pytest.raises(clipper.InvalidInput, match="2 numbers, got 3"):
        cl.predict("estimator", [1, 2, 3])


def test_predict_proba_is_a_method_on_request(cl, estimator):
    cl.deploy_model("probabilities", 1, estimator, method="predict_proba", example_input=X[0])
    cl.register_application("probabilities", input_type="doubles", slo_ms=5000, models=["probabilities"])
    assert sum(cl.predict("probabilities", X[0]).output) == pytest.approx(1)


def test_a_closure_keeps_what_it_refers_to(cl):
    local_module = types.ModuleType("a_module_that_only_this_process_has")
    local_module.__file__ = "/nowhere/a_module_that_only_this_process_has.py"
    exec("def triple(x):\n    return 3 * x", local_module.__dict__)  # noqa: S102 (a module that no container has)
    sys.modules[local_module.__name__] = local_module
    offset = 1.0
    cl.deploy_model("closure", 1, lambda b: [local_module.triple(r[0]) + offset for r in b], input_type="doubles")
    cl.register_application("closure", input_type="doubles", slo_ms=5000, models=["closure"])
    assert cl.predict("closure", [2.0]).output == 7
    del sys.modules[local_module.__name__]


FAILING = """
import sys
print('looking for weights', file=sys.stderr)
raise OSError('no weights')

def predict(batch):
    return batch
"""


def test_a_version_that_fails_to_load_raises_with_its_reason(cl, tmp_path):
    model = tmp_path / "model.py"
    model.write_text(FAILING)
    with pytest.raises(clipper.DeploymentFailed, match="no weights"):
        cl.deploy_model("failing", 1, model, input_type="doubles")
    cl.delete_model("failing")


def test_waiting_has_an_end(cl, tmp_path):
    model = tmp_path / "model.py"
    model.write_text("import time\ntime.sleep(3600)\n\ndef predict(batch):\n    return batch\n")
    with pytest.raises(clipper.DeploymentFailed, match=r"still (registered|starting|warming)"):
        cl.deploy_model("slow", 1, model, input_type="doubles", timeout_s=0.2)
    cl.delete_model("slow")


def test_not_waiting_returns_at_once(cl):
    info = cl.deploy_model("hasty", 1, None, flavor="noop", input_type="doubles", wait=False)
    assert info["version"] == "1"
    assert cl.wait_for_version("hasty", 1)["state"] == "ready"


def test_deploying_a_version_again_is_a_conflict(cl, estimator):
    cl.deploy_model("again", 1, estimator, wait=False)
    with pytest.raises(clipper.AlreadyExists):
        cl.deploy_model("again", 1, estimator)


def test_a_dry_run_answers_as_a_container_would(cl, estimator):
    assert cl.test_predict_function(lambda b: b.sum(axis=1), X, "doubles") == [0, 1, 8, 9]
    assert cl.test_predict_function(lambda b: [s[::-1] for s in b], ["ab"], "strings") == ["ba"]
    assert cl.test_predict_function(estimator, X, "doubles") == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda batch: [1], "1 outputs for 4 rows"),
        (lambda batch: batch.missing, "missing"),
        (lambda batch: [float("nan")] * len(batch), "NaN"),
        (lambda batch: [object()] * len(batch), "JSON"),
    ],
)
def test_a_dry_run_tells_what_would_go_wrong(cl, function, sentence):
    with pytest.raises(clipper.ModelError, match=sentence):
        cl.test_predict_function(function, X, "doubles")
