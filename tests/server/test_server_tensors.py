"""Named tensors through a real server: every road brings the same, and refuses the same."""

import itertools

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some
from tritonclient.utils import InferenceServerException

import clipper
from clipper.errors import BadRequest, InputTypeMismatch, InvalidInput
from clipper.protocols import Messages

messages = Messages("clipper.v1")

INPUTS = ["image FP32[2, -1]", "flag BOOL[]", "words BYTES[2]"]
OUTPUTS = ["total FP32[]", "text BYTES[2]", "count INT64[]"]
SHOWN = "image FP32[2, -1], flag BOOL[], words BYTES[2]"


def describe(batch):
    """``count`` grows with each row that is computed: what the cache answers has an old one."""
    describe.calls = getattr(describe, "calls", 0) + len(batch["flag"])
    totals = batch["image"].sum((1, 2), dtype="f4") * np.where(batch["flag"], 1, -1)
    text = np.array([[word.decode() for word in words] for words in batch["words"]], object)
    return {"total": totals.astype("f4"), "text": text, "count": [describe.calls] * len(text)}


def swapped(batch):
    return batch.transpose(0, 2, 1)


def paired(batch):
    return batch["a"].sum(1) * np.where(batch["b"], 1, -1)


@pytest.fixture(scope="module")
def served(cl):
    cl.deploy_model("describe", 1, describe, inputs=INPUTS, outputs=OUTPUTS)
    cl.register_application("described", input_type="tensors", slo_ms=5000, models=["describe"])
    cl.deploy_model("swap", 1, swapped, inputs=["INT16[2, 3]"])
    cl.register_application("swapped", input_type="tensors", slo_ms=5000, models=["swap"])
    cl.deploy_model("pair", 1, paired, inputs=["a FP32[2]", "b BOOL[]"])
    cl.register_application("paired", input_type="tensors", slo_ms=5000, models=["pair"])
    return cl


@pytest.fixture(scope="module")
def roads(served):
    query_url = served.session.query_url
    grpc_address = served.get_status()["grpc"]
    with (
        httpx.Client(base_url=query_url) as http,
        triton_http.InferenceServerClient(query_url.removeprefix("http://")) as oip,
        triton_grpc.InferenceServerClient(grpc_address) as oip_grpc,
        clipper.connect(served.session.admin_url, protocol="grpc", grpc_address=grpc_address) as own_grpc,
    ):
        yield Roads(http, oip, oip_grpc, own_grpc)


class Roads:
    """The same query, sent in every way; what came back as plain values, or the sentence of the refusal."""

    def __init__(self, http, oip, oip_grpc, own_grpc):
        self.http, self.oip, self.oip_grpc, self.own_grpc = http, oip, oip_grpc, own_grpc

    def all(self, query):
        yield self.rest(query)
        yield self.own_grpc.predict("described", plain(query)).output
        for binary in (True, False):
            yield self.triton(triton_http, self.oip, query, binary_data=binary)
        yield self.triton(triton_grpc, self.oip_grpc, query)

    def rest(self, query):
        reply = self.http.post("/described/predict", json={"input": plain(query)})
        assert reply.status_code == 200, reply.text
        return reply.json()["output"]

    def triton(self, kind, client, query, **form):
        inputs = []
        for name, value in query.items():
            batch = np.array([value]) if name != "words" else np.array([value], object)
            tensor = kind.InferInput(name, list(batch.shape), DATATYPES[name])
            tensor.set_data_from_numpy(batch.astype(DTYPES[name]), **form)
            inputs.append(tensor)
        result = client.infer("described", inputs)
        total, text, count = (result.as_numpy(name) for name in ("total", "text", "count"))
        return {
            "total": float(total[0]),
            "text": [word.decode() if isinstance(word, bytes) else word for word in text[0]],
            "count": int(count[0]),
        }


DATATYPES = {"image": "FP32", "flag": "BOOL", "words": "BYTES"}
DTYPES = {"image": "f4", "flag": "?", "words": object}


def plain(query):
    return {"image": query["image"].tolist(), "flag": query["flag"], "words": [w.decode() for w in query["words"]]}


queries = st.fixed_dictionaries(
    {
        "image": some.arrays(
            "f4", st.tuples(st.just(2), st.integers(1, 4)), elements=st.integers(-100, 100).map(float)
        ),
        "flag": st.booleans(),
        "words": st.lists(st.text(max_size=5).map(str.encode), min_size=2, max_size=2),
    }
)


@settings(max_examples=25, deadline=None)
@given(query=queries)
def test_every_road_brings_the_same_answer_from_one_computation(roads, query):
    first, *others = roads.all(query)
    assert first["total"] == float(query["image"].sum() * (1 if query["flag"] else -1))
    assert first["text"] == [word.decode() for word in query["words"]]
    assert all(other == first for other in others)


def test_rows_of_a_batch_are_queries_of_their_own_and_shapes_may_differ_between_requests(served):
    answers = served.predict_batch(
        "described",
        [{"image": np.full((2, n), 1.0), "flag": True, "words": ["a", str(n)]} for n in (1, 2, 3, 1)],
    )
    assert [answer.output["total"] for answer in answers] == [2.0, 4.0, 6.0, 2.0]
    assert [answer.output["text"][1] for answer in answers] == ["1", "2", "3", "1"]


def test_one_tensor_without_a_name_is_the_array_itself(served):
    rows = np.arange(12, dtype="i2").reshape(2, 2, 3)
    assert served.predict("swapped", rows[0]).output == rows[0].T.tolist()
    with triton_http.InferenceServerClient(served.session.query_url.removeprefix("http://")) as client:
        tensor = triton_http.InferInput("whatever", [2, 2, 3], "INT16")
        tensor.set_data_from_numpy(rows)
        result = client.infer("swapped", [tensor])
        assert result.as_numpy("output").tolist() == rows.transpose(0, 2, 1).tolist()


def test_metadata_say_what_goes_in_and_what_comes_out(roads):
    metadata = roads.oip.get_model_metadata("described")
    assert [(t["name"], t["datatype"], t["shape"]) for t in metadata["inputs"]] == [
        ("image", "FP32", [-1, 2, -1]),
        ("flag", "BOOL", [-1]),
        ("words", "BYTES", [-1, 2]),
    ]
    assert [(t["name"], t["datatype"], t["shape"]) for t in metadata["outputs"]] == [
        ("total", "FP32", [-1]),
        ("text", "BYTES", [-1, 2]),
        ("count", "INT64", [-1]),
    ]
    (only,) = roads.oip.get_model_metadata("swapped")["inputs"]
    assert (only["name"], only["shape"]) == ("input", [-1, 2, 3])


def test_outputs_are_those_that_are_asked_for(roads):
    query = {"image": np.ones((2, 1), "f4"), "flag": True, "words": [b"a", b"b"]}
    inputs = [triton_grpc.InferInput(name, [1, *np.shape(query[name])], DATATYPES[name]) for name in query]
    for tensor in inputs:
        value = np.empty(tensor.shape(), DTYPES[tensor.name()])
        value[0] = query[tensor.name()]
        tensor.set_data_from_numpy(value)
    wanted = [triton_grpc.InferRequestedOutput("total")]
    result = roads.oip_grpc.infer("described", inputs, outputs=wanted)
    assert result.as_numpy("total").tolist() == [2.0]
    assert result.as_numpy("text") is None
    with pytest.raises(InferenceServerException, match="has no output 'tot'; it has total, text, count"):
        roads.oip_grpc.infer("described", inputs, outputs=[triton_grpc.InferRequestedOutput("tot")])


def test_an_output_that_no_declared_and_no_answered_tensor_is_called_is_refused_but_not_in_place_of_a_default(served):
    def named(batch):
        if (batch["x"] == 13).any():
            raise ValueError("13")
        return {"y": batch["x"] * 2}

    served.deploy_model("undeclared", 1, named, inputs=["x INT64[]"])
    for app, default in (("undeclared-app", {}), ("undeclared-default", {"default_output": {"z": 1}})):
        served.register_application(app, input_type="tensors", slo_ms=5000, models=["undeclared"], **default)

    with triton_http.InferenceServerClient(served.session.query_url.removeprefix("http://")) as client:

        def ask(app, value, name):
            tensor = triton_http.InferInput("x", [1], "INT64")
            tensor.set_data_from_numpy(np.array([value]))
            outputs = client.infer(app, [tensor], outputs=[triton_http.InferRequestedOutput(name)])
            return {output["name"] for output in outputs.get_response()["outputs"]}

        assert ask("undeclared-app", 2, "y") == {"y"}
        with pytest.raises(InferenceServerException, match="There is no output 'q'; there is y"):
            ask("undeclared-app", 2, "q")
        assert ask("undeclared-default", 13, "y") == {"z"}


WRONG = {
    "a missing tensor": ({"image": [[1], [2]], "flag": True}, "takes image, flag, words; image, flag came"),
    "another shape": ({"image": [[1, 2, 3]], "flag": True, "words": ["a", "b"]}, "must have the shape [2, -1]"),
    "ragged": ({"image": [[1, 2], [3]], "flag": True, "words": ["a", "b"]}, "a list of 2 was expected, a list of 1"),
    "a number for a boolean": ({"image": [[1], [2]], "flag": 1, "words": ["a", "b"]}, "true or false"),
    "out of range": ({"image": [[1e39], [2]], "flag": True, "words": ["a", "b"]}, "from -3.40282e+38 to 3.40282e+38"),
    "no mapping": ([1, 2], "must be an object with the tensors image, flag, words"),
    "nested words": ({"image": [[1], [2]], "flag": True, "words": [["a"], "b"]}, "a string"),
}


@pytest.mark.parametrize(("value", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_json_that_is_no_input_is_refused_in_a_sentence(roads, value, sentence):
    reply = roads.http.post("/described/predict", json={"input": value})
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_input")
    assert sentence in reply.json()["error"]
    with pytest.raises(InvalidInput) as refused:
        roads.own_grpc.predict("described", value)
    assert refused.value.message == reply.json()["error"]


def message_of(arrays):
    """What a backend without our client sends to clipper.v1."""
    tensors = [
        messages.Tensor(name=name, datatype=datatype, shape=shape, data=data) for name, datatype, shape, data in arrays
    ]
    return messages.Input(tensors=messages.Tensors(tensors=tensors))


def words(*elements):
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)


def test_clipper_v1_takes_tensors_as_they_lie_in_memory(served, roads):
    grpc = pytest.importorskip("grpc")
    image = np.array([[1.5], [2.5]], "f4")
    good = [("words", "BYTES", [2], words(b"a", b"b")), ("flag", "BOOL", [], b"\1"), ("image", "FP32", [2, 1], image)]
    with grpc.insecure_channel(served.get_status()["grpc"]) as channel:
        call = channel.unary_unary(
            "/clipper.v1.Clipper/Predict",
            request_serializer=messages.PredictRequest.SerializeToString,
            response_deserializer=messages.Prediction.FromString,
        )

        def ask(arrays):
            packed = [(n, d, s, bytes(memoryview(data))) for n, d, s, data in arrays]
            return call(messages.PredictRequest(application="described", input=message_of(packed)), timeout=20)

        assert b'"total":4.0' in ask(good).output.replace(b" ", b"")
        for replaced, sentence in [
            (("flag", "BOOL", [], b"\1\0"), "must have the bytes of BOOL[], got 2 bytes"),
            (("words", "BYTES", [2], words(b"a") + b"\xff\xff\xff\x7fb"), "must have the bytes of BYTES[2]"),
            (("image", "FP32", [1 << 40, 1 << 40], image), "whole numbers from 1 to"),
            (("image", "BF16", [2, 1], image), "BF16 is not served"),
            (("image", "FP32", [2, 1], np.array([[np.nan], [1]], "f4")), "finite"),
        ]:
            with pytest.raises(grpc.RpcError) as refused:
                ask([tensor for tensor in good if tensor[0] != replaced[0]] + [replaced])
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert sentence in refused.value.details()


def test_what_differs_between_an_application_and_its_model_is_refused_with_both(served):
    with pytest.raises(InputTypeMismatch) as refused:
        served.register_application(
            "other", input_type="tensors", inputs=["image FP32[3, -1]"], slo_ms=10, models=["describe"]
        )
    assert f"takes image FP32[3, -1], its model 'describe' takes {SHOWN}" in refused.value.message
    with pytest.raises(InputTypeMismatch, match="the other versions of the model 'describe' take"):
        served.deploy_model("describe", 2, describe, inputs=["FP32[2]"])
    with pytest.raises(BadRequest, match="needs 'inputs'"):
        served.register_application("other", input_type="tensors", slo_ms=10)


def test_feedback_by_input_takes_tensors(served):
    served.deploy_model("sign", 1, lambda batch: (batch["x"].sum(1) > 0).astype(int), inputs=["x FP32[2]"])
    served.deploy_model("never", 1, lambda batch: [0] * len(batch["x"]), inputs=["x FP32[2]"])
    served.register_application(
        "learning", input_type="tensors", slo_ms=5000, models=["sign", "never"], policy="exp3", log_inputs="full"
    )
    for i in range(20):
        assert served.update("learning", input={"x": [1.0, float(i)]}, label=1) == 1
    sign, never = served.get_selection("learning")["models"]
    assert sign["model"] == "sign"
    assert sign["probability"] > never["probability"]


def test_another_clipper_is_a_server_of_tensors_like_any_other(served):
    """The adapter of the Open Inference Protocol asks this server itself, over gRPC."""
    address = f"grpc://{served.get_status()['grpc']}/describe"
    served.register_model("remote", 1, address, input_type="tensors", inputs=INPUTS, outputs=OUTPUTS)
    served.register_application("remotely", input_type="tensors", slo_ms=5000, models=["remote"])
    query = {"image": np.ones((2, 3)), "flag": False, "words": ["zu", "oberst"]}
    answer = served.predict("remotely", query)
    assert (answer.output["total"], answer.output["text"]) == (-6.0, ["zu", "oberst"])


def test_queries_of_several_shapes_at_once_are_answered_each_by_itself(served):
    widths = list(itertools.islice(itertools.cycle([1, 2, 5]), 60))
    inputs = [{"image": np.full((2, n), i), "flag": True, "words": ["x", "y"]} for i, n in enumerate(widths)]
    answers = served.predict_batch("described", inputs)
    assert [answer.output["total"] for answer in answers] == [2.0 * n * i for i, n in enumerate(widths)]


@pytest.fixture(scope="module", params=["rest", "grpc"])
def by_arrays(served, request):
    grpc_address = served.get_status()["grpc"]
    with clipper.connect(
        served.session.admin_url,
        query_url=served.session.query_url,
        protocol=request.param,
        grpc_address=grpc_address,
    ) as connection:
        yield connection


def test_arrays_of_the_client_travel_as_their_memory(served, by_arrays):
    a, b = np.array([[1, 2], [3, 4], [5, 6]], "f4"), np.array([True, False, True])
    expected = [3.0, -7.0, 11.0]
    assert by_arrays.predict("paired", {"a": a[0], "b": b[0:1].reshape(())}).output == expected[0]
    assert [one.output for one in by_arrays.predict_batch("paired", {"a": a, "b": b})] == expected
    rows = [{"a": row.tolist(), "b": bool(flag)} for row, flag in zip(a, b, strict=True)]
    assert [one.output for one in by_arrays.predict_batch("paired", rows)] == expected
    image = np.arange(6, dtype="i2").reshape(2, 3)
    assert by_arrays.predict("swapped", image).output == image.T.tolist()
    assert [one.output for one in by_arrays.predict_batch("swapped", image[None])] == [image.T.tolist()]
    with pytest.raises(InvalidInput, match=r"must have the shape \[2\], got \[2, 2\]"):
        by_arrays.predict("paired", {"a": a[:2], "b": b[0:1].reshape(())})
    with pytest.raises(InvalidInput, match="the same"):
        by_arrays.predict_batch("paired", {"a": a, "b": b[:2]})
