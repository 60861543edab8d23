"""Saved models of every framework, in containers of images built for it: answers equal to the framework's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WAIT_S = 120.0
FLAVORS = ("torch", "tensorflow", "onnx", "mlflow")
MODULES = {"torch": "torch", "tensorflow": "tensorflow", "onnx": "skl2onnx", "mlflow": "mlflow"}

# Each saves its model into the working directory, and prints its own answers for the rows. Frameworks are kept out of
# the process of the tests.
SAVE = {
    "torch": (
        "model.pt2",
        """
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3), torch.nn.Softmax(1)).eval()
batch = torch.export.Dim("batch")
torch.export.save(torch.export.export(model, (torch.zeros(2, 4),), dynamic_shapes=({0: batch},)), "model.pt2")
with torch.no_grad():
    answers = model(torch.tensor(ROWS)).tolist()
""",
    ),
    "tensorflow": (
        "model.keras",
        """
import numpy, tensorflow

tensorflow.keras.utils.set_random_seed(0)
dense = tensorflow.keras.layers.Dense
model = tensorflow.keras.Sequential([tensorflow.keras.Input((4,)), dense(8, "relu"), dense(3, "softmax")])
model.save("model.keras")
answers = model(numpy.array(ROWS, "f4")).numpy().tolist()
""",
    ),
    "onnx": (
        "model.onnx",
        """
import numpy, onnxruntime
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

x = numpy.random.default_rng(0).normal(size=(60, 4)).astype("f4")
model = to_onnx(LinearRegression().fit(x, x @ [1.0, -2.0, 3.0, 0.5]), x[:1])
open("model.onnx", "wb").write(model.SerializeToString())
session = onnxruntime.InferenceSession("model.onnx")
answers = session.run(None, {session.get_inputs()[0].name: numpy.array(ROWS, "f4")})[0].ravel().tolist()
""",
    ),
    "mlflow": (
        "saved",
        """
import mlflow.pyfunc, mlflow.sklearn, numpy, pandas, sklearn
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

x = numpy.random.default_rng(0).normal(size=(60, 4))
y = (x.sum(1) > 0).astype(int)
needs = [f"{module.__name__.replace('sklearn', 'scikit-learn')}=={module.__version__}" for module in (pandas, sklearn)]
how = {"serialization_format": "cloudpickle", "signature": infer_signature(x, y), "pip_requirements": needs}
mlflow.sklearn.save_model(LogisticRegression().fit(x, y), "saved", **how)
answers = mlflow.pyfunc.load_model("saved").predict(numpy.array(ROWS)).tolist()
""",
    ),
}

ROWS = [[0.1, -0.2, 0.3, 0.4], [1.0, 0.0, -1.0, 2.0], [-0.5, -0.5, -0.5, 0.25]]


@pytest.fixture
def saved(tmp_path):
    """Saves a framework's model; returns where it is and what it answers."""

    def save(flavor: str) -> tuple[Path, list[object]]:
        name, program = SAVE[flavor]
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_DISABLE_TELEMETRY": "true"}
        done = subprocess.run(
            [sys.executable, "-c", f"ROWS = {ROWS!r}\n{program}\nimport json\nprint('ANSWERS', json.dumps(answers))"],
            cwd=tmp_path,
            env={**os.environ, **quiet},
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_S,
        )
        assert done.returncode == 0, done.stderr
        return tmp_path / name, json.loads(done.stdout.rpartition("ANSWERS ")[2])

    return save


@pytest.mark.frameworks
@pytest.mark.timeout(420)
@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_saved_model_answers_in_a_container_as_in_its_framework(engine, up, saved, flavor):
    if not os.environ.get("FRAMEWORKS_REQUIRED"):
        pytest.importorskip(MODULES[flavor])
        wheels = os.environ.get("CLIPPER_DOCKER_WHEELS")
        if wheels is not None and not (Path(wheels) / flavor).is_dir():
            pytest.skip(f"there are no wheels of {flavor}: .ci/engine frameworks collects them")
    path, expected = saved(flavor)
    server = up()
    steps: list[str] = []
    server.cl.deploy_model("model", 1, path, input_type="doubles", timeout_s=400, on_progress=steps.append)
    server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    answered = [prediction.output for prediction in server.cl.predict_batch("app", ROWS)]
    assert answered == [pytest.approx(answer, abs=1e-5) for answer in expected]
    (container,) = server.containers().values()
    assert container.image.labels["clipper.flavor"] == flavor
    assert container.attrs["Config"]["User"] == "10001:10001"
