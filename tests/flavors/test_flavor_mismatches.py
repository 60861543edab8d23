"""What is missing, of another version or damaged at load is one sentence: expected, here, what to do."""

import json
import pickle
import platform

import pytest
from flavor_harness import needs
from sklearn.linear_model import LinearRegression

import clipper_container.flavors._frameworks as frameworks

ESTIMATOR = LinearRegression().fit([[0.0, 1.0], [1.0, 1.0]], [1.0, 2.0])


class Broken:
    """Cannot be unpickled: as an estimator of another version of its framework."""

    def __reduce__(self):
        return (getattr, (str, "no_such_thing"))


@pytest.fixture
def packaged(tmp_path):
    """A directory with a manifest and an entry, as an artifact has them."""

    def make(content=None, **manifest):
        folder = tmp_path / "packaged"
        folder.mkdir()
        (folder / "model.pkl").write_bytes(pickle.dumps(ESTIMATOR) if content is None else content)
        fields = {"format": 1, "flavor": "sklearn", "input_type": "doubles", "entry": "model.pkl", **manifest}
        (folder / "manifest.json").write_text(json.dumps(fields))
        return folder

    return make


def is_one_sentence(text):
    return "Traceback" not in text and "\n" not in text and text.endswith(".") and ". " not in text


async def test_an_estimator_of_another_version_that_does_not_load_says_which(serve, packaged):
    served = serve(packaged(pickle.dumps(Broken()), packages={"scikit-learn": "0.19.2"}))
    sentence = await served.failure()
    assert sentence.startswith("The model was saved with scikit-learn 0.19.2, here 1.")
    assert "deploy it with requirements=['scikit-learn==0.19.2'], or save it again" in sentence
    assert is_one_sentence(sentence)
    assert await served.replica.exit_code() == 4
    failed = [event for event in served.replica.log() if event["level"] == "error"]
    assert [(event["message"], event.get("traceback")) for event in failed] == [(sentence, None)]
    assert "no_such_thing" in served.log_text(), "the traceback is in the log for who wants it"


async def test_an_estimator_of_another_version_that_loads_is_served_with_a_warning(serve, packaged):
    served = serve(packaged(packages={"scikit-learn": "1.0"}))
    await served.ready()
    assert await served.ask([2.0, 1.0]) == [pytest.approx(3.0)]
    (warning,) = [event for event in served.replica.log() if event["event"] == "versions_differ"]
    assert warning["message"].startswith("The model was saved with scikit-learn 1.0, here 1.")


async def test_a_function_of_another_python_is_not_even_unpickled(serve, packaged):
    served = serve(packaged(b"not a pickle", flavor="python", python="3.8.1"))
    sentence = await served.failure()
    assert sentence.startswith(
        f"This function was pickled by Python 3.8.1, and Python {platform.python_version()} runs"
    )
    assert is_one_sentence(sentence)


async def test_a_package_that_the_model_was_saved_with_and_that_is_missing_is_named_with_its_version(serve, packaged):
    absent = b"cgone_framework\nModel\n."
    served = serve(packaged(absent, packages={"gone-framework": "3.2"}))
    sentence = await served.failure()
    assert sentence.startswith("This model needs gone-framework 3.2, which is not installed where it runs (Python")
    assert sentence.endswith("or deploy the model with requirements=['gone-framework==3.2'].")


async def test_a_module_that_is_missing_comes_with_advice_and_its_traceback(serve, tmp_path):
    path = tmp_path / "model.py"
    path.write_text("import not_there\n\ndef predict(batch):\n    return batch\n")
    served = serve(path, input_type="doubles")
    sentence = await served.failure()
    assert sentence.endswith("if that is a package, deploy the model with requirements=['not-there']")
    assert await served.replica.exit_code() == 4
    (failed,) = [event for event in served.replica.log() if event["level"] == "error"]
    assert any("import not_there" in line for line in failed["traceback"])


async def test_damaged_files_are_told_from_a_model_that_does_not_load(serve, packaged, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(ESTIMATOR))
    whole = serve(path)
    await whole.ready()
    artifact = packaged(path.read_bytes()[:-10], **whole.manifest)
    served = serve(path, artifact=artifact)
    assert "are not those that were packaged" in await served.failure()


async def test_an_estimator_without_the_method_says_so(serve, packaged):
    served = serve(packaged(method="predict_proba"))
    sentence = await served.failure()
    assert sentence.startswith("The estimator LinearRegression has no method predict_proba (")


@pytest.mark.parametrize(
    ("flavor", "package", "module"),
    [("torch", "torch", "torch"), ("tensorflow", "tensorflow", "tensorflow"), ("onnx", "onnxruntime", "onnxruntime"),
     ("mlflow", "mlflow", "mlflow")],
)  # fmt: skip
async def test_a_framework_that_is_not_installed_is_one_sentence(
    serve, packaged, tmp_path, monkeypatch, flavor, package, module
):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    # Found before the real one, and raises what the import of a missing module raises.
    (hidden / f"{module}.py").write_text(f"raise ModuleNotFoundError('No module named {module}', name='{module}')")
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    served = serve(packaged(b"", flavor=flavor, packages={package: "2.13.0"}))
    sentence = await served.failure()
    assert sentence == str(frameworks.missing(package, "2.13.0"))
    assert is_one_sentence(sentence.replace("2.13.0", "").replace(platform.python_version(), ""))


@needs("torch")
async def test_a_flavor_with_one_way_to_be_called_refuses_another(serve, packaged):
    served = serve(packaged(b"", flavor="torch", method="predict_proba"))
    assert "has no method 'predict_proba'" in await served.failure()
