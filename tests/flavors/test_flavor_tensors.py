"""Between flat rows and tensors, without any framework."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper_container.flavors import LoadContext, NotLoadable
from clipper_container.flavors._tensors import Layout, in_batches_of, layout_of, per_row
from clipper_container.manifest import Manifest


def context(input_type="doubles", **manifest):
    return LoadContext(Path(), Manifest(input_type=input_type, **manifest), input_type, "predict", 1)


@given(st.integers(1, 9), st.integers(1, 20))
def test_a_fixed_batch_serves_any_number_of_rows_and_is_never_called_with_another(size, count):
    sizes = []

    def predict(batch):
        sizes.append(len(batch))
        return {"sum": batch.sum(1), "both": [batch, batch[:, 0]]}

    rows = np.arange(3.0 * count).reshape(count, 3)
    answers = in_batches_of(size, predict)(rows)
    assert answers["sum"].tolist() == rows.sum(1).tolist()
    assert answers["both"][0].tolist() == rows.tolist()
    assert answers["both"][1].tolist() == rows[:, 0].tolist()
    assert set(sizes) == {size}


@pytest.mark.parametrize(
    ("outputs", "rows"),
    [
        (np.array([1.5, 2.5]), [1.5, 2.5]),
        (np.array([[1], [2]]), [1, 2]),
        (np.array([[[1]], [[2]]]), [1, 2]),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([[1]]), [1]),
        (np.array([b"caf\xc3\xa9", "text"], object), ["café", "text"]),
        (np.array([["a"], ["b"]]), ["a", "b"]),
        ([np.array([1, 2])], [1, 2]),
        ((np.array([1, 2]), np.array([[3, 4], [5, 6]])), [[1, [3, 4]], [2, [5, 6]]]),
        ({"a": np.array([1, 2])}, [1, 2]),
        ({"a": np.array([1, 2]), "b": np.array([[3], [4]])}, [{"a": 1, "b": 3}, {"a": 2, "b": 4}]),
    ],
)
def test_each_row_has_its_own_output(outputs, rows):
    answers = per_row(outputs)
    assert (answers.tolist() if isinstance(answers, np.ndarray) else answers) == rows


@pytest.mark.parametrize(
    ("shape", "manifest", "expected"),
    [
        ([None, 4], {}, Layout("float32", (4,), None)),
        ([8, 4], {}, Layout("float32", (4,), 8)),
        ([None, 2, 3], {}, Layout("float32", (2, 3), None)),
        ([None], {}, Layout("float32", (), None)),
        ([None, None], {}, Layout("float32", (-1,), None)),
        ([None, None, None], {"input_shape": [2, 3]}, Layout("float32", (2, 3), None)),
        ([None, 4], {"input_shape": [9, 9]}, Layout("float32", (4,), None)),
    ],
)
def test_what_a_model_leaves_open_comes_from_the_manifest(shape, manifest, expected):
    assert layout_of(shape, "float32", context(**manifest)) == expected


def test_the_width_is_known_where_every_dimension_is():
    widths = [layout_of(shape, "float32", context()).width for shape in ([None, 2, 3], [None], [None, None, 3])]
    assert widths == [6, 1, None]


@pytest.mark.parametrize(
    ("shape", "dtype", "input_type", "sentence"),
    [
        ([], "float32", "doubles", "without a batch dimension"),
        ([None, None, None], "float32", "doubles", r"leaves more than one dimension of a row \(\?, \?\) open"),
        ([None], "str", "doubles", "deploy it with strings"),
        ([None, 4], "float32", "strings", "deploy it with doubles, floats or integers"),
        ([None, 4], "float32", "json", "deploy it with doubles, floats or integers"),
    ],
)
def test_what_cannot_be_served_is_a_sentence(shape, dtype, input_type, sentence):
    with pytest.raises(NotLoadable, match=sentence):
        layout_of(shape, dtype, context(input_type))


def test_rows_are_converted_and_fractions_are_not_cut_off():
    layout = Layout("int64", (2,))
    assert layout.tensor(np.array([[1.0, 2.0]])).dtype == np.int64
    with pytest.raises(ValueError, match="takes whole numbers"):
        layout.tensor(np.array([[1.5, 2.0]]))
    with pytest.raises(ValueError, match="reshape"):
        layout.tensor(np.array([[1, 2, 3]]))
    assert Layout("float32", (1, 2)).tensor(np.array([[1.0, 2.0]])).shape == (1, 1, 2)
    assert Layout("str", (1,)).tensor(["a", "b"]).tolist() == [["a"], ["b"]]
