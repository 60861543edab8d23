"""ONNX for real: converted estimators and exported modules answer as in onnxruntime."""

import numpy as np
import pytest
from flavor_harness import needs, unpacked
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from clipper.errors import InvalidModel

pytestmark = pytest.mark.filterwarnings("ignore")
"""Converters warn of themselves; what is tested is what is served."""

X = np.random.default_rng(0).normal(size=(60, 4)).astype("f4")
Y = (X.sum(1) > 0).astype(int)
ROWS = X[:5].astype(float)


@pytest.fixture
def converted(tmp_path):
    from skl2onnx import to_onnx  # noqa: PLC0415 (slow, and not everywhere)

    def convert(model, name="model.onnx", **options):
        path = tmp_path / name
        path.write_bytes(to_onnx(model, X[:1], **options).SerializeToString())
        return path

    return convert


def run(path, rows, output=0):
    import onnxruntime  # noqa: PLC0415 (slow, and not everywhere)

    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {session.get_inputs()[0].name: np.asarray(rows, "f4")})[output]


@needs("onnxruntime", "skl2onnx")
@pytest.mark.parametrize("zipmap", [True, False])
async def test_a_classifier_answers_with_labels_or_with_probabilities(serve, converted, zipmap):
    model = RandomForestClassifier(5, random_state=0).fit(X, Y)
    path = converted(model, options={"zipmap": zipmap})
    served = serve(path)
    manifest = served.manifest
    assert (manifest["flavor"], manifest["input_type"], manifest["input_width"]) == ("onnx", "floats", 4)
    assert manifest["output_kind"] == "label"
    assert manifest["framework"].startswith("ONNX IR ")
    assert "skl2onnx" in manifest["framework"]
    assert (await served.ready()).input_width == 4
    assert await served.ask(*ROWS) == run(path, ROWS).tolist()
    probable = serve(path, method="predict_proba", input_type="doubles")
    assert probable.manifest["output_kind"] == "scores"
    await probable.ready()
    expected = run(converted(model, "plain.onnx", options={"zipmap": False}), ROWS, 1)
    assert np.array(await probable.ask(*ROWS)) == pytest.approx(expected, abs=1e-6)


@needs("onnxruntime", "skl2onnx")
async def test_a_regressor_answers_with_numbers(serve, converted):
    path = converted(LinearRegression().fit(X, X.sum(1)))
    served = serve(path)
    assert served.manifest["output_kind"] == "number"
    await served.ready()
    assert await served.ask(*ROWS) == pytest.approx(run(path, ROWS)[:, 0].tolist(), abs=1e-6)


@needs("onnxruntime", "skl2onnx")
async def test_labels_of_text_stay_text(serve, converted):
    path = converted(LogisticRegression().fit(X, np.where(Y, "good", "bad")))
    served = serve(path)
    await served.ready()
    assert await served.ask(*ROWS) == run(path, ROWS).tolist()


@needs("onnxruntime", "onnx")
async def test_a_model_in_memory_with_a_fixed_batch_and_weights_beside_it_serves_any_batch(serve, tmp_path):
    import onnx  # noqa: PLC0415 (slow, and not everywhere)
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 (as above)

    weights = numpy_helper.from_array(np.arange(2000, dtype="f4").reshape(4, 500), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 500])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    live = serve(model)
    onnx.save(model, tmp_path / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    from_file = serve(tmp_path / "big.onnx")
    for served in (live, from_file):
        await served.ready()
        answers = np.array(await served.ask([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 2]))
        assert answers[:, :2].tolist() == [[0, 1], [500, 501], [3000, 3002]]
    (tmp_path / "big.data").unlink()
    with pytest.raises(InvalidModel, match=r"keeps tensors in 'big\.data', and there is no such file"):
        unpacked(tmp_path / "x", tmp_path / "big.onnx")


@needs("onnxruntime", "onnx")
async def test_a_format_that_is_too_new_is_one_sentence(serve, tmp_path):
    from onnx import TensorProto, helper  # noqa: PLC0415 (slow, and not everywhere)

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model.ir_version = 99
    (tmp_path / "new.onnx").write_bytes(model.SerializeToString())
    served = serve(tmp_path / "new.onnx")
    sentence = await served.failure()
    assert sentence.startswith("onnxruntime ")
    assert "this model (ONNX IR 99, opset 17" in sentence
    assert sentence.endswith("upgrade onnxruntime, or export the model with an older opset.")
    assert "Traceback" not in sentence


@needs("onnxruntime", "skl2onnx")
async def test_probabilities_of_a_model_without_any_are_refused(serve, converted):
    served = serve(converted(LinearRegression().fit(X, X.sum(1))), method="predict_proba")
    assert "no output of probabilities" in await served.failure()


@pytest.mark.parametrize("content", [b"", b"whatever", b"\x08\x08", b"\x3a\x80\x80\x80\x80\x80\x80"])
def test_what_is_no_onnx_model_is_refused_before_it_is_sent(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InvalidModel, match="is no ONNX model"):
        unpacked(tmp_path / "x", tmp_path / "model.onnx")
