"""Models of frameworks that take several tensors, or one by its name: answers are the framework's own."""

import numpy as np
import pytest
from flavor_harness import needs, unpacked

from clipper.errors import InvalidModel
from clipper.tensors import parse_tensors
from clipper_container.flavors._contract import LoadContext, NotLoadable
from clipper_container.flavors._named import Argument, Arguments
from clipper_container.layout import Layout
from clipper_container.manifest import Manifest
from clipper_container.tensors import DATATYPES

pytestmark = pytest.mark.filterwarnings("ignore")
"""Frameworks warn of themselves; what is tested is what is served."""

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(size=(5, 2, 3)).astype("f4")
SCALES = RANDOM.integers(1, 9, size=(5, 1))
QUERIES = [{"image": image, "scale": scale} for image, scale in zip(IMAGES, SCALES, strict=True)]
TOTALS = (IMAGES.sum((1, 2)) * SCALES[:, 0]).tolist()
INPUTS = [
    {"name": "image", "datatype": "FP32", "shape": [2, 3]},
    {"name": "scale", "datatype": "INT64", "shape": [1]},
]


def scaled_sum(path, batch="n"):
    """total = sum(image) * scale, and double = 2 * image."""
    import onnx  # noqa: PLC0415 (slow, and not everywhere)
    from onnx import TensorProto, helper  # noqa: PLC0415 (as above)

    nodes = [
        helper.make_node("ReduceSum", ["image", "axes"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["scale"], ["float_scale"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float_scale", "flat"], ["flat_scale"]),
        helper.make_node("Mul", ["sum", "flat_scale"], ["total"]),
        helper.make_node("Add", ["image", "image"], ["double"]),
    ]
    graph = helper.make_graph(
        nodes,
        "scaled",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 2, 3]),
            helper.make_tensor_value_info("scale", TensorProto.INT64, [batch, 1]),
        ],
        [
            helper.make_tensor_value_info("total", TensorProto.FLOAT, [batch]),
            helper.make_tensor_value_info("double", TensorProto.FLOAT, [batch, 2, 3]),
        ],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@needs("onnxruntime", "onnx")
@pytest.mark.parametrize("batch", ["n", 2])
async def test_onnx_takes_its_inputs_by_name_and_returns_its_outputs_so(serve, tmp_path, batch):
    served = serve(scaled_sum(tmp_path / "m.onnx", batch))
    assert served.manifest["input_type"] == "tensors"
    assert served.manifest["inputs"] == INPUTS
    assert [tensor["name"] for tensor in served.manifest["outputs"]] == ["total", "double"]
    await served.ready()
    answers = await served.ask(*QUERIES)
    assert [answer["total"] for answer in answers] == pytest.approx(TOTALS, rel=1e-5)
    assert np.array([answer["double"] for answer in answers]) == pytest.approx(2 * IMAGES)


@needs("onnxruntime", "onnx")
async def test_what_a_model_takes_otherwise_than_deployed_is_said_when_it_loads(serve, tmp_path):
    path = scaled_sum(tmp_path / "m.onnx")
    served = serve(path, inputs=["image FP32[2, 4]", "scale INT64[1]"])
    assert "input 'image' has the shape (?, 2, 3), the batch first, and it was deployed with [2, 4]" in (
        await served.failure()
    )
    served = serve(path, inputs=["picture FP32[2, 3]", "scale INT64[1]"])
    assert "takes the tensors image, scale, and it was deployed with picture, scale" in await served.failure()


def arguments(dtype, described, shape=None):
    layout = Layout(parse_tensors([described]))
    return Arguments(
        [Argument("x", dtype, shape)], LoadContext(None, Manifest(), "tensors", "predict", 1, tensors=layout)
    )


@pytest.mark.parametrize(
    ("dtype", "described"), [("float32", "x BYTES[]"), ("str", "x FP32[]"), ("bytes", "INT8[]"), ("int64", "BYTES[2]")]
)
def test_text_and_numbers_are_not_taken_for_each_other(dtype, described):
    with pytest.raises(NotLoadable, match=r"input 'x' takes (text|numbers \(.*\)), and it was deployed with"):
        arguments(dtype, described)


@pytest.mark.parametrize(
    ("dtype", "described", "value"),
    [
        ("int32", "x INT64[]", 1 << 40),
        ("uint8", "x INT8[]", -1),
        ("int64", "x UINT64[]", 1 << 63),
        ("int64", "x FP64[]", 1e300),
        ("bool", "x INT32[]", 2),
        ("uint8", "x FP32[]", 256),
    ],
)
def test_a_number_that_the_models_type_cannot_hold_is_refused_and_not_another_number(dtype, described, value):
    taken = arguments(dtype, described)
    batch = np.array([1, value], DATATYPES[described.split("[")[0].removeprefix("x ")])
    assert taken.of({"x": batch[:1]})[0].tolist() == [1]
    with pytest.raises(ValueError, match="out of their range"):
        taken.of({"x": batch})


@needs("torch")
async def test_a_module_is_exported_with_an_example_of_each_of_its_arguments(serve):
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    class Scaled(torch.nn.Module):
        def forward(self, image, scale):
            return {"total": image.sum((1, 2)) * scale[:, 0], "double": 2 * image}

    example = {"scale": torch.tensor([3]), "image": torch.tensor(IMAGES[0])}
    served = serve(Scaled(), example_input=example)
    assert served.manifest["inputs"] == INPUTS
    await served.ready()
    answers = await served.ask(*QUERIES)
    assert [answer["total"] for answer in answers] == pytest.approx(TOTALS, rel=1e-5)
    with pytest.raises(InvalidModel, match="takes no colour, which example_input has"):
        unpacked(served.replica.log_path.parent / "other", Scaled(), example_input={"colour": 1})


@needs("torch")
async def test_torchscript_takes_what_it_was_deployed_with(serve, tmp_path):
    import torch  # noqa: PLC0415 (slow, and not everywhere)

    class Scaled(torch.nn.Module):
        def forward(self, image: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return image.sum((1, 2)) * scale[:, 0]

    torch.jit.save(torch.jit.script(Scaled()), tmp_path / "m.pt")
    served = serve(tmp_path / "m.pt", inputs=INPUTS)
    await served.ready()
    assert await served.ask(*QUERIES) == pytest.approx(TOTALS, rel=1e-5)


@needs("tensorflow")
@pytest.mark.parametrize("as_dict", [True, False])
async def test_keras_and_its_saved_model_take_their_inputs_by_name(serve, tmp_path, as_dict):
    import keras  # noqa: PLC0415 (slow, and not everywhere)

    image = keras.Input((2, 3), name="image")
    scale = keras.Input((1,), dtype="int64", name="scale")
    total = keras.ops.sum(image, (1, 2)) * keras.ops.cast(scale[:, 0], "float32")
    model = keras.Model({"scale": scale, "image": image} if as_dict else [image, scale], total)
    live = serve(model)
    assert sorted(live.manifest["inputs"], key=lambda tensor: tensor["name"]) == INPUTS
    await live.ready()
    assert await live.ask(*QUERIES) == pytest.approx(TOTALS, rel=1e-5)
    model.export(tmp_path / "exported", verbose=False)
    exported = serve(tmp_path / "exported")
    assert exported.manifest["input_type"] == "tensors"
    names = sorted(tensor["name"] for tensor in exported.manifest["inputs"])
    await exported.ready()
    renamed = [dict(zip(names, (query["image"], query["scale"]), strict=True)) for query in QUERIES]
    assert await exported.ask(*renamed) == pytest.approx(TOTALS, rel=1e-5)


async def test_an_estimator_takes_one_array_without_a_name(serve):
    from sklearn.linear_model import LinearRegression  # noqa: PLC0415 (beside the others)

    rows = IMAGES.reshape(5, 6)
    model = LinearRegression().fit(rows, rows.sum(1))
    served = serve(model, inputs=["FP32[6]"])
    await served.ready()
    assert await served.ask(*rows) == pytest.approx(rows.sum(1).tolist(), abs=1e-4)
    named = serve(model, inputs=["image FP32[6]"])
    assert "takes one array, and it was deployed with named tensors" in await named.failure()
