"""The same input is the same query whatever carries it: one output, one cache entry, refused for the same faults."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roads import DTYPES, OIP_ROADS, Refusal, Roads, Tensor

FLAT_TYPES = ("doubles", "floats", "integers", "strings", "bytes", "json")
NUMERIC = ("doubles", "floats", "integers")
ROADS = {
    **dict.fromkeys(NUMERIC, ("clipper_json", *OIP_ROADS, "v1_json", "v1_value", "v1_numbers")),
    "strings": ("clipper_json", *OIP_ROADS, "v1_json", "v1_value"),
    "bytes": ("clipper_json", *OIP_ROADS, "v1_json", "v1_value"),
    "json": ("clipper_json", *OIP_ROADS, "v1_json"),
}
REFUSED = {"400", "INVALID_ARGUMENT"}


def counting():
    """A model whose output has the number of rows that it was asked for: asked again it answers otherwise."""
    asked = []

    def count(rows):
        outputs = []
        for row in rows:
            asked.append(None)
            shown = row.hex() if isinstance(row, bytes) else row
            outputs.append([len(asked), *row.tolist()] if hasattr(row, "tolist") else f"{len(asked)} {shown!r}")
        return outputs

    return count


@pytest.fixture(scope="module")
def roads(cl):
    for input_type in FLAT_TYPES:
        cl.deploy_model(f"count-{input_type}", 1, counting(), input_type=input_type)
        cl.register_application(input_type, input_type=input_type, slo_ms=20_000, models=[f"count-{input_type}"])
    for input_type in NUMERIC:  # of a known width
        cl.deploy_model(f"two-{input_type}", 1, counting(), input_type=input_type, example_input=[1, 2])
        models = [f"two-{input_type}"]
        cl.register_application(f"pair-{input_type}", input_type=input_type, slo_ms=20_000, models=models)
    address = httpx.get(f"{cl.session.admin_url}/admin/status").json()["grpc"]
    roads = Roads(cl.session.query_url, address)
    yield roads
    roads.close()


def numbers_of(input_type):
    if input_type == "integers":
        return st.integers(-(2**31), 2**31 - 1)
    width = 32 if input_type == "floats" else 64
    return st.floats(width=width, allow_nan=False, allow_infinity=False, allow_subnormal=False)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9, allow_subnormal=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ROW_OF = {"strings": TEXT, "bytes": st.binary(max_size=12), "json": JSON}


@st.composite
def questions(draw):
    """An input type, rows of it, and the roads in the order in which they are taken."""
    input_type = draw(st.sampled_from(FLAT_TYPES))
    if input_type in NUMERIC:
        width = draw(st.integers(1, 4))
        row = st.lists(numbers_of(input_type), min_size=width, max_size=width)
    else:
        row = ROW_OF[input_type]
    rows = draw(st.lists(row, min_size=1, max_size=3))
    possible = ROADS[input_type]
    if input_type == "bytes" and not all(map(is_text, rows)):
        possible = [road for road in possible if road != "oip_json"]  # JSON has no other bytes than text
    return input_type, rows, draw(st.permutations(possible))


def is_text(row):
    try:
        row.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(questions())
def test_the_same_input_has_one_output_and_is_computed_once(roads, question):
    input_type, rows, order = question
    first, *others = ((road, roads.ask(road, input_type, input_type, rows)) for road in order)
    assert isinstance(first[1], list), first
    assert [answer for answer in others if answer[1] != first[1]] == []


def test_one_input_on_all_roads_at_once_is_computed_once(roads):
    order = ROADS["doubles"] * 3
    with ThreadPoolExecutor(len(order)) as callers:
        asked = [callers.submit(roads.ask, road, "doubles", "doubles", [[0.25, 12345.5]]) for road in order]
    first = asked[0].result()
    assert isinstance(first, list)
    assert [one.result() for one in asked] == [first] * len(order)


def asked_alike(roads, app, tensor):
    """What the roads of the Open Inference Protocol say to a tensor, by road; JSON and typed where they can have it."""
    able = [road for road in OIP_ROADS if tensor.datatype != "FP16" or road != "grpc_typed"]
    return {road: roads.infer(road, app, tensor) for road in able}


@st.composite
def tensors(draw):
    """Numbers of any datatype in any shape, whether or not an application takes them."""
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    if datatype.startswith("FP"):
        element = st.floats(width=int(datatype[2:]), allow_nan=False, allow_infinity=False, allow_subnormal=False)
    elif datatype == "BOOL":
        element = st.booleans()
    else:
        bounds = np.iinfo(DTYPES[datatype])
        element = st.integers(max(-3, int(bounds.min)), 3) | st.integers(int(bounds.min), int(bounds.max))
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    count = int(np.prod(shape))
    return Tensor(datatype, shape, draw(st.lists(element, min_size=count, max_size=count)))


@settings(max_examples=200, deadline=None)
@given(tensors(), st.sampled_from([*FLAT_TYPES, "pair-doubles", "pair-floats", "pair-integers"]))
def test_any_tensor_is_answered_or_refused_alike_on_every_road(roads, tensor, app):
    found = asked_alike(roads, app, tensor)
    said = [(one.code, one.sentence) if isinstance(one, Refusal) else one for one in found.values()]
    assert all(one == said[0] for one in said), found
    assert {one.status for one in found.values() if isinstance(one, Refusal)} <= REFUSED


@pytest.mark.parametrize(
    ("app", "tensor", "words"),
    [
        ("pair-doubles", Tensor("FP64", [1, 3], [1.0, 2.0, 3.0]), "must have 2 numbers a query, got 3"),
        ("doubles", Tensor("FP64", [2], [1.0, 2.0]), "must have the shape [batch, numbers]"),
        ("doubles", Tensor("FP64", [1, 2, 1], [1.0, 2.0]), "must have the shape [batch, numbers]"),
        ("doubles", Tensor("BOOL", [1, 2], [True, False]), "has the datatype BOOL"),
        ("floats", Tensor("BOOL", [1, 2], [True, False]), "has the datatype BOOL"),
        ("integers", Tensor("BOOL", [1, 2], [True, False]), "has the datatype BOOL"),
        ("strings", Tensor("BOOL", [1], [True]), "has the datatype BOOL"),
        ("bytes", Tensor("BOOL", [1], [True]), "has the datatype BOOL"),
        ("json", Tensor("BOOL", [1], [True]), "has the datatype BOOL"),
        ("doubles", Tensor("BYTES", [1, 1], [b"1"]), "has the datatype BYTES"),
        ("strings", Tensor("FP64", [1, 1], [1.0]), "has the datatype FP64"),
        ("strings", Tensor("BYTES", [1, 2], [b"a", b"b"]), "must have the shape [batch] or [batch, 1]"),
        ("floats", Tensor("FP64", [1, 1], [1e39]), "within the 32-bit range"),
        ("integers", Tensor("INT64", [1, 1], [2**31]), "a whole number from -2147483648"),
        ("integers", Tensor("FP64", [1, 1], [0.5]), "a whole number from -2147483648"),
        ("json", Tensor("BYTES", [1], [b"{"]), "must be JSON text"),
        ("doubles", Tensor("FP64", [1, 0], []), "whole numbers from 1"),
        ("doubles", Tensor("FP64", [-1, 1], [1.0]), "whole numbers from 1"),
        ("doubles", Tensor("FP64", [], [1.0]), "list of 1 to 16 sizes"),
        ("doubles", Tensor("FP64", [1 << 31, 1 << 31], [1.0]), "more than"),
        ("doubles", Tensor("FP64", [1] * 17, [1.0]), "list of 1 to 16 sizes"),
        ("nobody", Tensor("FP64", [1, 1], [1.0]), "no application and no model 'nobody'"),
    ],
)
def test_a_fault_is_said_in_the_same_words_on_every_road(roads, app, tensor, words):
    found = asked_alike(roads, app, tensor)
    assert all(isinstance(one, Refusal) for one in found.values()), found
    assert len({(one.code, one.sentence) for one in found.values()}) == 1, found
    assert words in found["oip_json"].sentence
    assert {one.status for one in found.values()} <= REFUSED | {"404", "NOT_FOUND"}


@pytest.mark.parametrize(
    ("app", "row"),
    [
        ("pair-doubles", [1.0, 2.0, 3.0]),
        ("pair-integers", [1]),
        ("integers", [2**31]),
        ("integers", [0.5]),
        ("floats", [1e39]),
        ("doubles", []),
        ("nobody", [1.0]),
    ],
)
def test_our_own_protocols_refuse_what_does_not_fit_with_one_code(roads, app, row):
    found = [road(app, "doubles", [row]) for road in (roads.clipper_json, roads.v1_json, roads.v1_numbers)]
    assert all(isinstance(one, Refusal) for one in found), found
    assert len({one.code for one in found}) == 1, found


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("input_type", ["doubles", "floats"])
def test_what_is_no_finite_number_is_refused_by_whatever_can_carry_it(roads, input_type, number):
    tensor = Tensor({"doubles": "FP64", "floats": "FP32"}[input_type], [1, 2], [1.0, number])
    found = [roads.infer(road, input_type, tensor) for road in OIP_ROADS if road != "oip_json"]
    assert len({(one.code, one.sentence) for one in found}) == 1, found
    assert found[0].sentence.startswith("Input 'input' at [0, 1] must be a finite number")
    found += [getattr(roads, road)(input_type, input_type, [[1.0, number]]) for road in ("v1_value", "v1_numbers")]
    assert {(one.code, one.status) for one in found} <= {("invalid_input", status) for status in REFUSED}
    body = b'{"input_batch": [[1.0, NaN]]}'
    assert roads.post(input_type, body).status == "400"
