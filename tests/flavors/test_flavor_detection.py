"""What a user hands over is recognised by looking: no framework is imported, nothing is ever unpickled."""

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from flavor_harness import unpacked
from hypothesis import given
from hypothesis import strategies as st

from clipper.errors import InvalidModel
from clipper.packaging import protobuf
from clipper.packaging.paths import FORMATS


class Armed:
    """Unpickling it leaves a file behind."""

    witness: Path

    def __reduce__(self):
        return (Path.touch, (self.witness,))


def key(number, kind):
    return bytes([number << 3 | kind])


def field(number, value):
    """A field of a protocol buffer: an int, or bytes below 128 long."""
    return key(number, 0) + bytes([value]) if isinstance(value, int) else key(number, 2) + bytes([len(value)]) + value


def onnx_file():
    dimension = field(1, field(2, b"N")) + field(1, field(1, 7))
    kind = field(1, field(1, 11) + field(2, dimension))  # of doubles, (N, 7)
    graph = field(11, field(1, b"x") + field(2, kind)) + field(12, field(1, b"y") + field(2, kind))
    return field(1, 10) + field(2, b"by hand") + field(7, graph) + field(8, field(2, 21))


def saved_model():
    shape = field(2, field(1, 9))
    info = field(2, 2) + field(3, field(2, b"\x08" + b"\xff" * 9 + b"\x01") + shape)  # of doubles, (-1, 9)
    signature = field(1, b"serving_default") + field(2, field(1, field(2, info)) + field(2, field(2, info)))
    return field(2, field(1, field(5, b"2.99.0")) + field(5, signature))


def torch_program():
    spec = {"input_specs": [{"user_input": {"arg": {"as_tensor": {"name": "x"}}}}]}
    sizes = [{"as_expr": {"expr_str": "s0"}}, {"as_int": 2}, {"as_int": 3}]
    graph = {"tensor_values": {"x": {"dtype": 8, "sizes": sizes}}}
    return {"torch_version": "2.99.0+cu150", "graph_module": {"signature": spec, "graph": graph}}


def archive_of(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def armed(tmp_path, monkeypatch):
    """A pickle that must not be loaded."""
    witness = tmp_path / "unpickled"
    monkeypatch.setattr(Armed, "witness", witness, raising=False)
    yield pickle.dumps(Armed())
    assert not witness.exists()


@pytest.fixture
def handed_over(tmp_path, armed):
    """One of each kind, made by hand: whatever is a pickle in it is armed."""
    layer = {"class_name": "InputLayer", "config": {"batch_shape": [None, 5], "dtype": "float32"}}
    description = {
        "flavors": {"python_function": {"loader_module": "x", "python_version": "3.11.7"}},
        "mlflow_version": "3.99",
        "signature": {"inputs": json.dumps([{"type": "double", "name": "a"}, {"type": "long", "name": "b"}])},
    }
    mlflow, tensorflow = tmp_path / "mlflow", tmp_path / "saved"
    mlflow.mkdir()
    tensorflow.mkdir()
    (mlflow / "MLmodel").write_text(json.dumps(description))
    (mlflow / "model.pkl").write_bytes(armed)
    (tensorflow / "saved_model.pb").write_bytes(saved_model())
    (tmp_path / "model.onnx").write_bytes(onnx_file())
    (tmp_path / "model.py").write_text("def predict(batch):\n    return batch\n")
    return {
        "mlflow": mlflow,
        "saved_model": tensorflow,
        "onnx": tmp_path / "model.onnx",
        "python": tmp_path / "model.py",
        "pt2": archive_of(
            tmp_path / "m.pt2",
            {
                "m/archive_format": "pt2",
                "m/models/model.json": json.dumps(torch_program()),
                "m/data/sample_inputs/model.pt": armed,
            },
        ),
        "torchscript": archive_of(
            tmp_path / "m.pt", {"m/code/x.py": "", "m/constants.pkl": armed, "m/data.pkl": armed}
        ),
        "keras": archive_of(
            tmp_path / "m.keras",
            {"metadata.json": '{"keras_version": "3.99"}', "config.json": json.dumps({"config": {"layers": [layer]}})},
        ),
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("pt2", ("torch", "doubles", "model.pt2", "torch 2.99.0", 6, [2, 3])),
        ("torchscript", ("torch", "floats", "model.pt", "TorchScript", None, None)),
        ("keras", ("tensorflow", "floats", "model.keras", "Keras 3.99", 5, None)),
        ("saved_model", ("tensorflow", "doubles", "saved_model", "TensorFlow 2.99.0", 9, None)),
        ("onnx", ("onnx", "doubles", "model.onnx", "ONNX IR 10, opset 21, by by hand", 7, None)),
        ("mlflow", ("mlflow", "doubles", "mlflow_model", "MLflow 3.99 (x)", 2, None)),
    ],
)
def test_each_kind_is_recognised_with_what_it_takes(tmp_path, handed_over, kind, expected):
    _, manifest = unpacked(tmp_path / "out", handed_over[kind])
    fields = ("flavor", "input_type", "entry", "framework", "input_width", "input_shape")
    assert tuple(manifest.get(name) for name in fields) == expected
    _, named = unpacked(tmp_path / "named", handed_over[kind], flavor=expected[0])
    assert named == manifest


def test_a_source_file_is_recognised_and_needs_its_input_type(tmp_path, handed_over):
    with pytest.raises(InvalidModel, match="name its input type"):
        unpacked(tmp_path / "out", handed_over["python"])
    _, manifest = unpacked(tmp_path / "out", handed_over["python"], input_type="json")
    assert manifest["flavor"] == "python"


def test_a_named_flavor_counts_more_than_what_a_file_is_called(tmp_path, handed_over):
    odd = handed_over["onnx"].rename(tmp_path / "weights.dat")
    with pytest.raises(InvalidModel, match="--flavor"):
        unpacked(tmp_path / "out", odd)
    assert unpacked(tmp_path / "out", odd, flavor="onnx")[1]["flavor"] == "onnx"
    with pytest.raises(InvalidModel, match="There is no flavor 'caffe' for a saved model; there is sklearn, python"):
        unpacked(tmp_path / "out", odd, flavor="caffe")


@pytest.mark.parametrize("flavor", sorted(FORMATS))
def test_what_is_not_of_the_named_flavor_is_refused(tmp_path, flavor):
    (tmp_path / "model.bin").write_bytes(b"something else")
    with pytest.raises(InvalidModel):
        unpacked(tmp_path / "out", tmp_path / "model.bin", flavor=flavor)


def test_weights_alone_are_no_model(tmp_path, armed):
    path = archive_of(tmp_path / "weights.pt", {"m/data.pkl": armed, "m/version": "3"})
    with pytest.raises(InvalidModel, match="holds weights or a pickled module"):
        unpacked(tmp_path / "out", path)


def test_the_digest_is_of_the_files_and_not_of_the_manifest(tmp_path, handed_over):
    _, one = unpacked(tmp_path / "a", handed_over["onnx"])
    _, same = unpacked(tmp_path / "b", handed_over["onnx"], example_input=[0] * 7)
    handed_over["onnx"].write_bytes(onnx_file() + field(3, b"2"))
    _, other = unpacked(tmp_path / "c", handed_over["onnx"])
    assert one["digest"] == same["digest"] != other["digest"]


def test_neither_clipper_nor_the_runtime_imports_a_framework():
    code = """
import sys
import clipper, clipper.packaging, clipper_container.runtime
from clipper_container.flavors import find_flavor, flavor_names
for name in flavor_names():
    find_flavor(name)
frameworks = {"sklearn", "joblib", "torch", "tensorflow", "keras", "onnx", "onnxruntime", "mlflow", "pandas"}
print(*frameworks & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    def walk(view, depth):
        for _, value in protobuf.fields(view):
            if isinstance(value, memoryview) and depth:
                try:
                    walk(value, depth - 1)
                except protobuf.NotAMessage:
                    continue

    try:
        walk(memoryview(data), 3)
    except protobuf.NotAMessage:
        return


@given(st.lists(st.tuples(st.integers(1, 15), st.one_of(st.integers(0, 127), st.binary(max_size=100)))))
def test_fields_are_read_as_they_were_written(written):
    data = b"".join(field(number, value) for number, value in written)
    read = [(n, value if isinstance(value, int) else bytes(value)) for n, value in protobuf.fields(memoryview(data))]
    assert read == written
