"""A model's own requirements: what goes into its manifest, and what is refused before anything is sent."""

import pytest
from flavor_harness import unpacked
from hypothesis import given
from hypothesis import strategies as st

from clipper import apply
from clipper.errors import InvalidModel
from clipper.packaging.requirements import read

SOURCE = "def predict(batch):\n    return batch\n"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model" / "model.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    return path


def test_the_file_beside_a_saved_model_is_taken(tmp_path, model):
    text = "# what it needs\nnumpy>=1.26  # for arrays\n\nscipy \\\n  >=1.11\n--extra-index-url https://example.org/simple\n"
    (model.parent / "requirements.txt").write_text(text)
    _, manifest = unpacked(tmp_path / "out", model, input_type="json")
    lines = ["numpy>=1.26", "scipy  >=1.11", "--extra-index-url https://example.org/simple"]
    assert manifest["requirements"] == lines
    _, manifest = unpacked(tmp_path / "none", model, input_type="json", requirements=[])
    assert "requirements" not in manifest
    _, manifest = unpacked(tmp_path / "own", model, input_type="json", requirements=["attrs"])
    assert manifest["requirements"] == ["attrs"]


def test_a_function_has_those_that_are_given(tmp_path):
    _, manifest = unpacked(
        tmp_path / "a", lambda batch: batch, input_type="json", requirements=["attrs>=23; python_version > '3'"]
    )
    assert manifest["requirements"] == ["attrs>=23; python_version > '3'"]
    (tmp_path / "needs.txt").write_text("attrs\n")
    _, manifest = unpacked(tmp_path / "b", lambda batch: batch, input_type="json", requirements=tmp_path / "needs.txt")
    assert manifest["requirements"] == ["attrs"]


@pytest.mark.parametrize(
    "line", ["./dist/tiny-1.0-py3-none-any.whl", "dist/tiny-1.0-py3-none-any.whl", "tiny @ file://{}"]
)
def test_a_wheel_travels_with_the_model(tmp_path, model, line):
    wheel = model.parent / "dist" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"a wheel")
    (model.parent / "requirements.txt").write_text(line.format(wheel))
    artifact, manifest = unpacked(tmp_path / "out", model, input_type="json")
    assert manifest["requirements"] == ["./requirements/tiny-1.0-py3-none-any.whl"]
    assert (artifact / "requirements" / wheel.name).read_bytes() == b"a wheel"
    wheel.write_bytes(b"another wheel")
    _, other = unpacked(tmp_path / "other", model, input_type="json")
    assert other["digest"] != manifest["digest"]


def test_a_folder_of_wheels_is_named_by_its_whole_path(tmp_path):
    (tmp_path / "needs.txt").write_text("--find-links=wheels\n-f https://example.org/wheels\ntiny\n")
    lines = read(tmp_path / "needs.txt", beside=None).lines
    assert lines == (f"--find-links {tmp_path / 'wheels'}", "-f https://example.org/wheels", "tiny")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-r other.txt", "cannot go with a model: write out what it refers to"),
        ("-e .", "cannot go with a model"),
        ("--constraint=c.txt", "cannot go with a model"),
        ("./nowhere.whl", "there is no file"),
        ("./folder", r"names a directory; build a wheel of it \(pip wheel --no-deps"),
        ("two words", "is no requirement that pip knows"),
        ("numpy=1.0", "is no requirement that pip knows"),
    ],
)
def test_what_pip_could_not_do_where_the_model_runs_is_refused_with_the_line(tmp_path, line, sentence):
    (tmp_path / "folder").mkdir()
    (tmp_path / "needs.txt").write_text(f"numpy\n{line}\n")
    with pytest.raises(InvalidModel, match=sentence) as raised:
        read(tmp_path / "needs.txt", beside=None)
    assert line in raised.value.message
    assert "needs.txt" in raised.value.message


def test_a_file_that_is_named_and_missing_is_an_error(tmp_path):
    with pytest.raises(InvalidModel, match="cannot be read"):
        read(tmp_path / "missing.txt", beside=None)
    assert read(None, beside=tmp_path / "missing.txt").lines == ()


def test_a_file_of_apply_names_them_by_path_or_lists_them(tmp_path):
    (tmp_path / "needs.txt").write_text("attrs\n")
    (tmp_path / "plan.yaml").write_text(
        "models:\n"
        "  - name: m\n"
        "    versions:\n"
        "      - {version: 1, path: model.py, requirements: needs.txt}\n"
        "      - {version: 2, path: model.py, requirements: [attrs, numpy]}\n"
    )
    first, second = apply.load(tmp_path / "plan.yaml").models[0].versions
    assert first.requirements == tmp_path / "needs.txt"
    assert second.requirements == ("attrs", "numpy")


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_lines_are_taken_or_refused(lines):
    try:
        taken = read(lines, beside=None)
    except InvalidModel:
        return
    assert all(line and "\n" not in line for line in taken.lines)
