"""Models that are in Docker images: what is sent of them is a name."""

import json
import tarfile

import pytest

from clipper.errors import ClipperError, InvalidModel
from clipper.packaging import package


@pytest.mark.parametrize(
    "name", ["digits:1", "ml/digits", "registry.example.com:5000/ml/digits:1.0-rc_2", f"digits@sha256:{'0' * 64}"]
)
def test_only_the_name_of_an_image_is_sent(tmp_path, name):
    packaged = package(f"docker://{name}", tmp_path, input_type="floats")
    with tarfile.open(packaged.tar) as archive:
        assert archive.getnames() == ["manifest.json"]
        manifest = json.load(archive.extractfile("manifest.json"))
    assert (manifest["flavor"], manifest["entry"], manifest["input_type"]) == ("image", name, "floats")


@pytest.mark.parametrize("name", ["", "Digits:1", "digits:", "-digits", "digits:1 --privileged", "a" * 600])
def test_what_names_no_image_is_refused(tmp_path, name):
    with pytest.raises(InvalidModel, match="names no image"):
        package(f"docker://{name}", tmp_path, input_type="floats")


def test_what_the_image_has_decided_cannot_be_said_again(tmp_path):
    with pytest.raises(InvalidModel, match="name its input type"):
        package("docker://digits:1", tmp_path)
    for said in ({"method": "predict_proba"}, {"example_input": [1.0]}, {"requirements": ["pandas"]}):
        with pytest.raises(ClipperError, match="are those of 'clipper build'"):
            package("docker://digits:1", tmp_path, input_type="doubles", **said)
