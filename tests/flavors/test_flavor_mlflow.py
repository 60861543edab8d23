"""MLflow for real: directories that it saved answer as `mlflow.pyfunc` does, with their requirements."""

import json
import subprocess
import sys

import numpy as np
import pytest
from flavor_harness import WAIT_S, needs, unpacked

from clipper.control.requirements import lacking
from clipper.errors import InvalidModel

SAVE = """
import json, logging, os
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
logging.disable(logging.WARNING)
import mlflow.pyfunc, mlflow.sklearn
import numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

x = np.random.default_rng(0).normal(size=(60, 4))
y = (x.sum(1) > 0).astype(int)
model = LogisticRegression().fit(x, y)
how = {"serialization_format": "cloudpickle"}
frame = pd.DataFrame(x, columns=list("abcd"))
mlflow.sklearn.save_model(model, "tensor", signature=infer_signature(x, y), **how)
mlflow.sklearn.save_model(model, "columns", signature=infer_signature(frame, y), **how)
mlflow.sklearn.save_model(model, "unsigned", **how)

class Greeter(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return pd.DataFrame({"greeting": "Hello " + model_input["name"], "age": model_input["age"] + 1})

people = pd.DataFrame({"name": ["Ada"], "age": [36]})
mlflow.pyfunc.save_model("people", python_model=Greeter(), signature=infer_signature(people))
print("ANSWERS", json.dumps(mlflow.pyfunc.load_model("tensor").predict(x[:5]).tolist()))
"""

ROWS = np.random.default_rng(0).normal(size=(60, 4))[:5]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with models of several kinds, and the classifier's own answers for ``ROWS``."""
    folder = tmp_path_factory.mktemp("mlflow")
    done = subprocess.run(
        [sys.executable, "-c", SAVE], cwd=folder, capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.partition("ANSWERS")[2])


@needs("mlflow", "pandas")
@pytest.mark.parametrize(("name", "width"), [("tensor", 4), ("columns", 4), ("unsigned", None)])
async def test_a_directory_answers_as_itself(serve, saved, name, width):
    folder, expected = saved
    served = serve(folder / name, input_type="doubles")
    manifest = served.manifest
    assert (manifest["flavor"], manifest["entry"], manifest.get("input_width")) == ("mlflow", "mlflow_model", width)
    assert manifest["framework"].startswith("MLflow 3.")
    assert any(line.startswith("scikit-learn==") for line in manifest["requirements"])
    assert lacking(manifest["requirements"]) == [], "what saved it is installed here, mlflow as mlflow-skinny"
    assert (await served.ready()).input_width == width
    assert await served.ask(*ROWS) == expected


@needs("mlflow", "pandas")
async def test_columns_that_are_not_all_numbers_come_as_objects(serve, saved):
    served = serve(saved[0] / "people")
    assert served.manifest["input_type"] == "json"
    await served.ready()
    answers = await served.ask({"name": "Ada", "age": 36}, {"name": "Alan", "age": 41})
    assert answers == [{"greeting": "Hello Ada", "age": 37}, {"greeting": "Hello Alan", "age": 42}]


@needs("mlflow", "pandas")
async def test_columns_that_are_not_all_numbers_are_not_served_as_numbers(serve, saved):
    served = serve(saved[0] / "people", input_type="doubles")
    assert "deploy it with 'json', where each input is an object of columns." in await served.failure()


def test_a_directory_that_cannot_be_called_from_python_is_refused_before_it_is_sent(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {crate: {}}\nmlflow_version: 3.1.0\n")
    with pytest.raises(InvalidModel, match="no flavor 'python_function'"):
        unpacked(tmp_path / "out", folder)
    (folder / "MLmodel").write_text("just words")
    with pytest.raises(InvalidModel, match="not a description that MLflow wrote"):
        unpacked(tmp_path / "out", folder)
