"""Arrays go as their memory, by every protocol, and are answered as their numbers in JSON are."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from scripted_server import ANSWER, http, scripted_server, then

import clipper
from clipper.client.arrays import DATATYPES, memory_of

FINE = (http(ANSWER),)
OLD = (http(b'{"error": "The body is not valid JSON.", "code": "invalid_json"}', "400 Bad Request"),)


@pytest.fixture(scope="session")
def echoing(cl):
    """Applications that answer with their input, for every type of numbers and for JSON."""
    for kind in ("doubles", "floats", "integers", "json"):
        cl.deploy_model(f"echo-{kind}", 1, echo, input_type=kind, wait=False)
    for kind in ("doubles", "floats", "integers", "json"):
        cl.wait_for_version(f"echo-{kind}", 1)
        cl.register_application(f"echo-{kind}", input_type=kind, slo_ms=5000, models=[f"echo-{kind}"])


def echo(batch):
    return [one.tolist() if hasattr(one, "tolist") else one for one in batch]


def said(prediction):
    return dataclasses.replace(prediction, query_id="", explanation=None)


ARRAYS = {
    **{letters: np.array([1, 2, 100], letters) for letters in DATATYPES},
    "big-endian": np.array([1.5, 2.5], ">f8"),
    "every other one": np.arange(10.0)[::2],
    "backwards": np.arange(10, dtype="i4")[::-1],
    "a column": np.arange(12.0).reshape(3, 4)[:, 1],
    "large integers": np.array([2**53 + 1, 2**62]),
    "fractions": np.array([0.1, 1 / 3, 1e-300]),
    "booleans": np.array([True, False]),
    "empty": np.array([]),
    "not a number": np.array([1.0, np.nan]),
    "a matrix": np.arange(6.0).reshape(2, 3),
    "one number": np.float64(3),
    "no dimension": np.array(3.0),
    "masked": np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False]),
    "objects": np.array([1, "a"], object),
    "texts": np.array(["a", "b"]),
}


def outcome(connection, app, x):
    try:
        return said(connection.predict(app, x))
    except clipper.ClipperError as error:
        return type(error), error.code


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("kind", ["doubles", "floats", "integers", "json"])
def test_an_array_is_answered_as_its_numbers_in_json_are(cl, by_protocol, echoing, name, kind):
    x = ARRAYS[name]
    assert outcome(by_protocol, f"echo-{kind}", x) == outcome(cl, f"echo-{kind}", x.tolist())


@pytest.fixture(scope="session")
def tensors(cl):
    """An application of one tensor, of 2 x 2 numbers, and one of numbers without an end."""
    for name, takes in (("square", "FP32[2, 2]"), ("line", "INT64[-1]")):
        cl.deploy_model(f"of-{name}", 1, echo, inputs=[takes])
        cl.register_application(f"of-{name}", input_type="tensors", slo_ms=5000, models=[f"of-{name}"])


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("app", ["of-square", "of-line"])
def test_an_array_is_a_tensor_where_the_application_takes_one(cl, by_protocol, tensors, app, name):
    x = ARRAYS[name]
    assert outcome(by_protocol, app, x) == outcome(cl, app, x.tolist())


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", ">f4"])
def test_a_square_is_answered_as_it_came(by_protocol, tensors, dtype):
    square = np.arange(4).reshape(2, 2).astype(dtype)
    assert by_protocol.predict("of-square", square).output == [[0.0, 1.0], [2.0, 3.0]]
    squares = np.stack([square, square + 1])
    assert [one.output for one in by_protocol.predict_batch("of-square", squares)] == squares.tolist()


def test_a_matrix_is_a_batch_of_its_rows(cl, by_protocol, echoing):
    rows = np.arange(12.0).reshape(4, 3)
    by_json = cl.predict_batch("echo-doubles", rows.tolist())
    assert [said(one) for one in by_protocol.predict_batch("echo-doubles", rows)] == [said(one) for one in by_json]


def test_a_row_of_an_array_that_fails_fails_alone(by_protocol, summing):
    bad, good = by_protocol.predict_batch(summing, np.array([[-1.0, 1.0], [2.0, 1.0]]))
    assert isinstance(bad.error, clipper.ModelError)
    assert good.output == 3.0


def test_options_go_with_an_array(by_protocol, summing):
    x = np.ones(5)
    assert by_protocol.predict(summing, x, uid="u", timeout_ms=4000, version=1, explain=True).explanation
    with pytest.raises(clipper.UnknownVersion):
        by_protocol.predict(summing, x, version=9)
    with pytest.raises(clipper.BadRequest, match="timeout_ms"):
        by_protocol.predict(summing, x, timeout_ms=0)
    assert all(one.explanation for one in by_protocol.predict_batch(summing, np.ones((3, 2)), explain=True))


def test_an_ensemble_and_a_default_say_as_much_as_by_json(cl, by_protocol, summing):
    for name, options in {"mean-of-arrays": {"policy": "average"}, "array-default": {"default_output": -1}}.items():
        if name not in cl.get_all_apps():
            cl.register_application(name, input_type="doubles", slo_ms=5000, models=["summing"], **options)
    mean = by_protocol.predict("mean-of-arrays", np.ones(3))
    assert (mean.output, mean.models, mean.confidence, mean.missing) == (3.0, ("summing:1",), 1.0, ())
    default = by_protocol.predict("array-default", np.array([-1.0]))
    assert (default.output, default.default) == (-1, True)
    assert default.default_explanation.startswith("model_error: ")


def test_a_long_list_of_floats_is_the_same_query_as_its_array(cl, echoing):
    """It goes as memory, too; what is not nothing but floats goes as text."""
    floats = [i / 7 for i in range(100)]
    for kind in ("doubles", "json"):
        assert cl.predict(f"echo-{kind}", floats).output == floats
    mixed = [1, *floats]
    assert cl.predict("echo-json", mixed).output == mixed
    assert type(cl.predict("echo-json", mixed).output[0]) is int
    with pytest.raises(clipper.InvalidInput):
        cl.predict("echo-doubles", [*floats, float("nan")])


@pytest.mark.parametrize(
    "x", [[1.0] * 31, [1] * 99, [*[1.0] * 99, True], (1.0,) * 99, "text", None, [[1.0] * 99], np.array([])]
)
def test_everything_else_goes_as_json(x):
    assert memory_of(x) is None


async def test_over_http_the_memory_follows_the_json():
    with scripted_server(then(FINE)) as server:
        async with clipper.connect_async(query_url=server.url) as cl:
            await cl.predict("a", np.array([1.0, 2.0], "f4"), uid="u")
    (asked,) = server.asked
    head = asked.head.decode().lower()
    assert "content-type: application/octet-stream" in head
    length = int(head.partition("inference-header-content-length: ")[2].split("\r\n")[0])
    assert json.loads(asked.body[:length]) == {"input": {"datatype": "FP32", "shape": [2]}, "uid": "u"}
    assert asked.body[length:] == np.array([1.0, 2.0], "f4").tobytes()


def test_a_server_that_takes_only_json_gets_json_from_then_on():
    with scripted_server(then(OLD, FINE)) as server, clipper.connect(query_url=server.url) as cl:
        assert cl.predict("a", np.array([1.0, 2.0])).output == 1
        assert cl.predict("a", np.array([3.0])).output == 1
    assert [json.loads(asked.body) for asked in server.asked[1:]] == [{"input": [1.0, 2.0]}, {"input": [3.0]}]


def test_a_program_without_arrays_never_imports_numpy():
    code = (
        "import sys, clipper\n"
        "with clipper.connect(query_url='http://127.0.0.1:9') as cl:\n"
        "    try: cl.predict('a', [1.0] * 100)\n"
        "    except clipper.Unreachable: pass\n"
        "print('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
