"""Answers as the tensors that a definition declares."""

import pytest

from clipper.errors import ModelError
from clipper.tensors import parse_tensors
from clipper_frontends.oip.declared_outputs import declared_outputs


def only(described, values):
    (tensor,) = declared_outputs(values, parse_tensors([described]), "output")
    return tensor.shape, tensor.data if isinstance(tensor.data, list) else tensor.data.tolist()


@pytest.mark.parametrize(
    ("described", "values", "shape", "data"),
    [
        ("FP32[1, 1]", [1.0, 2.0], (2, 1, 1), [[[1.0]], [[2.0]]]),
        ("FP32[-1]", [1.0, 2.0], (2, 1), [[1.0], [2.0]]),
        ("FP32[-1, 1]", [1.0, 2.0], (2, 1, 1), [[[1.0]], [[2.0]]]),
        ("FP32[-1, -1]", [1.0, 2.0], (2, 1, 1), [[[1.0]], [[2.0]]]),
        ("FP32[]", [[1.0], [2.0]], (2,), [1.0, 2.0]),
        ("FP32[-1]", [[[1.0]], [[2.0]]], (2, 1), [[1.0], [2.0]]),
        ("FP32[-1]", [[1.0, 2.0]], (1, 2), [[1.0, 2.0]]),
        ("INT8[-1, 2]", [[[1, 2]], [[3, 4]]], (2, 1, 2), [[[1, 2]], [[3, 4]]]),
        ("BYTES[-1]", ["a", "b"], (2, 1), [b"a", b"b"]),
    ],
)
def test_a_single_value_of_a_row_has_as_many_dimensions_as_are_declared(described, values, shape, data):
    assert only(described, values) == (shape, data)


@pytest.mark.parametrize(("described", "value"), [("FP32[2]", 1.0), ("FP32[-1, 2]", 1.0), ("FP32[-1]", [[1.0, 2.0]])])
def test_other_shapes_than_the_declared_are_the_models_error(described, value):
    with pytest.raises(ModelError, match="must have the shape"):
        only(described, [value])
