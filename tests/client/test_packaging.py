import contextlib
import json
import pickle
import tarfile
from collections import OrderedDict
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clipper.errors import ClipperError, InvalidModel
from clipper.packaging import package
from clipper.packaging.archive import write_tar
from clipper.packaging.pickles import scan_file
from clipper.packaging.tensors import Tensor, described

X, Y = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0]]), [0, 1, 1]


@pytest.fixture(scope="module")
def estimator():
    return LogisticRegression().fit(X, Y)


def manifest_of(packaged) -> dict:
    with tarfile.open(packaged.tar) as archive:
        return json.load(archive.extractfile("manifest.json"))


def names_in(packaged) -> list[str]:
    with tarfile.open(packaged.tar) as archive:
        return archive.getnames()


class Armed:
    """Unpickling it leaves a file behind."""

    witness: Path

    def __reduce__(self):
        return (Path.touch, (self.witness,))


def test_recognising_never_unpickles(tmp_path, monkeypatch):
    witness = tmp_path / "unpickled"
    monkeypatch.setattr(Armed, "witness", witness, raising=False)
    for name in ("a.pkl", "a.pickle", "a.joblib"):
        (tmp_path / name).write_bytes(pickle.dumps(Armed()))
        with pytest.raises(InvalidModel):
            package(tmp_path / name, tmp_path)
        assert package(tmp_path / name, tmp_path, flavor="sklearn").tar.exists()
    assert not witness.exists()
    pickle.loads((tmp_path / "a.pkl").read_bytes())  # noqa: S301 (to see that it is armed)
    assert witness.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_pickled_estimators_of_every_protocol_are_recognised(tmp_path, estimator, protocol):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(estimator, protocol=protocol))
    packaged = package(path, tmp_path)
    assert (packaged.flavor, packaged.input_type) == ("sklearn", "doubles")
    assert manifest_of(packaged)["entry"] == "model.pkl"


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_joblib_files_are_recognised_however_they_are_compressed(tmp_path, compress):
    path = tmp_path / "model.joblib"
    model = make_pipeline(StandardScaler(), RandomForestClassifier(3)).fit(X, Y)
    joblib.dump(model, path, compress=compress)
    packaged = package(path, tmp_path)
    assert packaged.flavor == "sklearn"
    assert names_in(packaged) == ["manifest.json", "model.joblib"]


def test_the_version_that_wrote_an_estimator_is_in_the_manifest(tmp_path, estimator):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(estimator))
    expected = estimator.__getstate__()["_sklearn_version"]
    assert manifest_of(package(path, tmp_path))["packages"] == {"scikit-learn": expected}


def test_a_pickled_function_is_recognised(tmp_path):
    path = tmp_path / "function.pkl"
    path.write_bytes(cloudpickle.dumps(lambda batch: batch))
    assert package(path, tmp_path, input_type="json").flavor == "python"


def test_other_pickles_name_what_they_hold(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(OrderedDict(a=1)))
    with pytest.raises(InvalidModel, match=r"collections.*--flavor"):
        package(path, tmp_path)
    assert package(path, tmp_path, flavor="sklearn").flavor == "sklearn"


@example(data=b"\x96\0\0\0\0\0\0\0\1")  # claims 2^56 bytes
@given(data=st.binary(max_size=300))
def test_any_bytes_are_scanned_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "anything.pkl"
    path.write_bytes(data)
    with contextlib.suppress(ValueError, OSError, EOFError):
        scan_file(path)


@given(st.data())
def test_a_damaged_pickle_is_packaged_or_refused(tmp_path_factory, data):
    whole = pickle.dumps({"a": OrderedDict(b=[1, 2.5, "x"])})
    cut = data.draw(st.integers(0, len(whole)))
    folder = tmp_path_factory.getbasetemp()
    (folder / "damaged.pkl").write_bytes(whole[:cut] + data.draw(st.binary(max_size=5)))
    with pytest.raises(InvalidModel):
        package(folder / "damaged.pkl", folder)


def test_a_source_file_needs_a_predict(tmp_path):
    path = tmp_path / "my_model.py"
    path.write_text("def predict(batch):\n    return batch\n")
    packaged = package(path, tmp_path, input_type="strings")
    assert manifest_of(packaged)["entry"] == "model.py:predict"
    for source, sentence in [("def other(b): ...", "defines no 'predict'"), ("def predict(", "is not Python")]:
        path.write_text(source)
        with pytest.raises(InvalidModel, match=sentence):
            package(path, tmp_path, input_type="strings")


@pytest.mark.parametrize(
    "tensors",
    [
        [(f"t{i}", Tensor("float32", (None, 2))) for i in range(65)],
        [("long" * 64, Tensor("float32", (None, 2)))],
        [("deep", Tensor("float32", (None, *[1] * 16)))],
        [("", Tensor("float32", (None, 2))), ("", Tensor("float32", (None, 2)))],
        [("wide", Tensor("float32", (None, 1 << 20, 1 << 20)))],
        [("no batch", Tensor("float32", ()))],
    ],
    ids=["many", "long name", "deep", "nameless", "wide", "no batch"],
)
def test_tensors_of_a_saved_model_that_no_definition_can_have_are_left_out_of_it(tensors):
    assert described(tensors) == ()


def test_a_directory_is_taken_as_it_says(tmp_path):
    folder = tmp_path / "packaged"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "weights.bin").write_bytes(b"\x00")
    (folder / "model.py").write_text("def predict(batch):\n    return batch\n")
    manifest = {"format": 1, "flavor": "python", "input_type": "floats", "entry": "model.py:predict"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    packaged = package(folder, tmp_path)
    assert (packaged.flavor, packaged.input_type) == ("python", "floats")
    assert names_in(packaged) == ["data/weights.bin", "manifest.json", "model.py"]
    with pytest.raises(InvalidModel, match="input type"):
        package(folder, tmp_path, input_type="doubles")
    manifest |= {"input_type": "tensors", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2]}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert list(map(str, package(folder, tmp_path).inputs)) == ["x FP32[2]"]
    assert package(folder, tmp_path, inputs=["x FP32[2]"]).inputs == package(folder, tmp_path).inputs
    with pytest.raises(InvalidModel, match=r"inputs 'x FP32\[3\]' was asked for; the manifest.json says 'x FP32\[2\]'"):
        package(folder, tmp_path, inputs=["x FP32[3]"])
    (folder / "model.py").unlink()
    with pytest.raises(InvalidModel, match="no such file"):
        package(folder, tmp_path)
    (folder / "manifest.json").unlink()
    with pytest.raises(InvalidModel, match=r"without a manifest\.json"):
        package(folder, tmp_path)


@pytest.mark.parametrize("name", ["model.h5", "model.bin", "model", "model.txt"])
def test_an_unknown_kind_of_file_names_what_is_supported(tmp_path, name):
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(InvalidModel, match=r"\.pkl.*\.py.*manifest\.json.*--flavor"):
        package(tmp_path / name, tmp_path)
    with pytest.raises(InvalidModel, match="There is no file"):
        package(tmp_path / "missing.pkl", tmp_path)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (LogisticRegression(), "is not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "is not fitted"),
        (LogisticRegression, "is a class"),
        (object(), "type 'object'"),
        (3, "type 'int'"),
        (None, "type 'NoneType'"),
        (lambda: 1, "one argument"),
        (lambda a, b: 1, "one argument"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, model, sentence):
    with pytest.raises(InvalidModel, match=sentence):
        package(model, tmp_path, input_type="doubles")


def test_an_asynchronous_function_is_refused(tmp_path):
    async def predict(batch):
        return batch

    with pytest.raises(InvalidModel, match="asynchronous"):
        package(predict, tmp_path, input_type="doubles")


def test_what_cannot_be_pickled_is_refused(tmp_path):
    with (tmp_path / "open").open("w") as file, pytest.raises(InvalidModel, match="cannot be packaged"):
        package(lambda batch: file.write("x"), tmp_path, input_type="doubles")


def test_a_method_that_the_estimator_lacks_is_refused(tmp_path, estimator):
    class Bare:
        def predict(self, batch):
            return batch

    assert package(Bare(), tmp_path).flavor == "sklearn"
    with pytest.raises(InvalidModel, match="predict_proba"):
        package(Bare(), tmp_path, method="predict_proba")


def test_a_function_needs_an_input_type(tmp_path):
    with pytest.raises(InvalidModel, match="input_type"):
        package(lambda batch: batch, tmp_path)


def test_the_width_is_that_of_the_estimator_or_the_example(tmp_path, estimator):
    assert manifest_of(package(estimator, tmp_path))["input_width"] == 2
    packaged = package(lambda b: b, tmp_path, input_type="floats", example_input=np.zeros(5))
    assert manifest_of(packaged)["input_width"] == 5
    assert manifest_of(packaged)["example_input"] == [0.0] * 5
    with pytest.raises(ClipperError, match="2 numbers"):
        package(estimator, tmp_path, example_input=[1.0])
    with pytest.raises(ClipperError, match="example_input"):
        package(lambda b: b, tmp_path, input_type="strings", example_input=3)


def test_noop_has_no_artifact(tmp_path):
    packaged = package(None, tmp_path, flavor="noop", input_type="doubles")
    assert (packaged.tar, packaged.digest()) == (None, None)


def test_the_same_model_is_the_same_artifact(tmp_path, estimator):
    digests = set()
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.pkl").write_bytes(pickle.dumps(estimator))
        digests.add(package(folder / "model.pkl", folder).digest())
    assert len(digests) == 1


@given(st.dictionaries(st.text("ab/", min_size=1, max_size=5).filter(lambda n: n.strip("/") == n), st.binary()))
def test_a_tar_does_not_depend_on_the_order_of_its_files(tmp_path_factory, files):
    folder = tmp_path_factory.getbasetemp()
    write_tar(folder / "a.tar", files)
    write_tar(folder / "b.tar", dict(reversed(files.items())))
    assert (folder / "a.tar").read_bytes() == (folder / "b.tar").read_bytes()
    with tarfile.open(folder / "a.tar") as archive:
        assert {name: archive.extractfile(name).read() for name in archive.getnames()} == files


def test_an_input_type_that_there_is_not_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(
        InvalidModel, match="no input type 'double'; there is doubles, floats, integers, strings, bytes"
    ):
        package(lambda batch: batch, tmp_path, input_type="double")
