"""Tensors in messages of ``clipper.v1``: what becomes a row, and what is refused before it costs anything."""

from types import SimpleNamespace

import numpy as np
import pytest

from clipper.errors import InvalidInput
from clipper.protocols import Messages
from clipper.tensors import parse_tensors
from clipper_container.layout import Layout
from clipper_frontends.grpc.inputs import MessageReader

V1 = Messages("clipper.v1")


def row_of(described, value):
    """The row of an ``Input`` for an application of these tensors."""
    shape = SimpleNamespace(input_type="tensors", input_width=None, layout=Layout(parse_tensors(described)))
    return MessageReader().row(value, shape, "input")


def tensors(*arrays):
    return V1.Input(
        tensors=V1.Tensors(tensors=[V1.Tensor(name=n, datatype=d, shape=s, data=x) for n, d, s, x in arrays])
    )


def test_nothing_is_allocated_for_elements_that_a_shape_only_claims(monkeypatch):
    monkeypatch.setattr(np, "empty", lambda *_, **__: pytest.fail("allocated for a claim of 2**31 elements"))
    with pytest.raises(InvalidInput, match=r"must have the bytes of BYTES\[2147483648\], got 5 bytes"):
        row_of(["BYTES[-1]"], tensors(("", "BYTES", [1 << 31], b"\1\0\0\0a")))


def test_booleans_are_0_or_1():
    assert row_of(["BOOL[2]"], tensors(("", "BOOL", [2], b"\1\0"))) == b"\1\0"
    with pytest.raises(InvalidInput, match="booleans of 0 or 1"):
        row_of(["BOOL[2]"], tensors(("", "BOOL", [2], b"\1\2")))


def test_a_tensor_that_comes_twice_is_refused():
    with pytest.raises(InvalidInput, match="two tensors of one name"):
        row_of(["x INT8[1]"], tensors(("x", "INT8", [1], b"\1"), ("x", "INT8", [1], b"\2")))


@pytest.mark.parametrize(
    ("described", "value", "row"),
    [
        ("FP32[3]", {"floats": np.array([1, 2, -3], "<f4").tobytes()}, np.array([1, 2, -3], "<f4").tobytes()),
        ("FP32[3]", {"doubles": np.array([1, 2, -3], "<f8").tobytes()}, np.array([1, 2, -3], "<f4").tobytes()),
        ("INT64[3]", {"integers": np.array([1, 2, -3], "<i4").tobytes()}, np.array([1, 2, -3], "<i8").tobytes()),
        ("x INT8[3]", {"numbers": V1.Numbers(values=[1, 2, -3])}, b"\1\2\xfd"),
        ("BYTES[]", {"text": "grün"}, b"\5\0\0\0gr\xc3\xbcn"),
        ("BYTES[]", {"data": b"\xff\0"}, b"\2\0\0\0\xff\0"),
    ],
)
def test_what_a_flat_input_type_takes_is_the_only_tensor_where_it_has_its_shape(described, value, row):
    assert row_of([described], V1.Input(**value)) == row


@pytest.mark.parametrize(
    ("described", "value", "sentence"),
    [
        ("INT8[1]", {"doubles": np.array([1.5]).tobytes()}, "a whole number from -128 to 127"),
        ("FP32[2]", {"doubles": np.array([1.5]).tobytes()}, r"must have the shape \[2\]"),
        ("FP32[2]", {"doubles": b"123"}, "3 bytes of doubles, which take 8 bytes each"),
        ("FP32[-1]", {"doubles": b""}, "not empty"),
        ("FP32[2]", {"text": "1.5"}, r"must have the shape \[2\]"),
        ("FP64[1]", {"doubles": np.array([np.nan]).tobytes()}, "finite"),
    ],
)
def test_what_a_flat_input_type_takes_is_refused_where_it_is_no_such_tensor(described, value, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        row_of([described], V1.Input(**value))
