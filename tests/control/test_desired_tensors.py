"""Tensors in the desired state: what models and applications say of them agrees; words are read as they are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.control import desired as edits
from clipper.domain import Application, Desired, VersionSpec
from clipper.errors import InputTypeMismatch, InvalidRequest
from clipper.tensors import Tensor, parse_tensors

IMAGE = parse_tensors(["image FP32[28, 28]"])
OTHER = parse_tensors(["image FP32[28, 29]"])


def with_version(desired, inputs=IMAGE, name="1", manifest=None):
    spec = VersionSpec(version=name, input_type="tensors", inputs=inputs)
    revision = len(desired.versions) + 1
    return edits.create_version(
        desired, "net", spec, generation=revision, digest="d" * 64, manifest=manifest or {}, now=0.0
    )


def app(**fields):
    return Application(name="digits", input_type="tensors", slo_ms=20, **fields)


names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=9)
tensors = st.builds(
    Tensor,
    name=names,
    datatype=st.sampled_from(["BOOL", "FP16", "INT64", "BYTES"]),
    shape=st.lists(st.sampled_from([-1, 1, 7, 300]), max_size=3).map(tuple),
)


@given(tensors)
def test_a_tensor_reads_what_it_shows(tensor):
    assert parse_tensors([str(tensor)]) == (tensor,)


@pytest.mark.parametrize("text", ["FP32", "image", "image FP32 28", "image FP32[,2]", "[2]", "image FP32[2"])
def test_other_words_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"for instance 'image FP32\[28, 28\]'"):
        parse_tensors([text])


def test_several_tensors_have_names_of_their_own():
    for wrong in (["FP32[1]", "FP32[2]"], ["a FP32[1]", "a FP32[2]"]):
        with pytest.raises(ValueError, match="each has a name of its own"):
            parse_tensors(wrong)


def test_an_application_takes_what_its_models_take():
    desired = edits.create_application(with_version(Desired()), app(models=("net",)))
    assert desired.applications["digits"].inputs == IMAGE
    with pytest.raises(InputTypeMismatch, match=r"takes image FP32\[28, 29\], its model 'net' takes"):
        edits.create_application(with_version(Desired()), app(models=("net",), inputs=OTHER))


def test_an_application_of_tensors_has_some_and_no_other_does():
    with pytest.raises(InvalidRequest, match="needs 'inputs'"):
        edits.create_application(Desired(), app())
    desired = edits.create_application(Desired(), app(inputs=IMAGE))
    with pytest.raises(InvalidRequest, match="'inputs' belongs to the input type 'tensors'; this one is 'doubles'"):
        edits.patch_application(desired, "digits", {"input_type": "doubles"})
    patched = edits.patch_application(desired, "digits", {"input_type": "doubles", "inputs": []})
    assert patched.applications["digits"].inputs == ()


def test_versions_of_a_model_take_the_same_tensors():
    desired = with_version(Desired())
    with pytest.raises(InputTypeMismatch, match="Deploy it under another model name"):
        with_version(desired, inputs=OTHER, name="2")
    desired = edits.create_application(Desired(), app(inputs=OTHER))
    desired = edits.link(with_version(desired, inputs=OTHER), "digits", "net")
    with pytest.raises(InputTypeMismatch):
        with_version(desired, inputs=IMAGE, name="2")


def test_a_version_has_the_tensors_of_its_artifact():
    manifest = {"input_type": "tensors", "inputs": [tensor.model_dump(mode="json") for tensor in IMAGE]}
    made = with_version(Desired(), inputs=(), manifest=manifest).version("net", "1")
    assert made.spec.inputs == IMAGE
    with pytest.raises(InputTypeMismatch, match=r"image FP32\[28, 29\], its artifact takes image FP32\[28, 28\]"):
        with_version(Desired(), inputs=OTHER, manifest=manifest)
    with pytest.raises(InvalidRequest, match="needs 'inputs'"):
        with_version(Desired(), inputs=())
