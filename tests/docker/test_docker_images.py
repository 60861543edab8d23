"""Images as they are built: their layers, their health check, and a model baked into one of its own."""

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from server_process import until
from sklearn.linear_model import LogisticRegression

import clipper
from clipper_container.healthcheck import PORT

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SECRET = "a-secret-that-both-ends-know"


@pytest.fixture
def saved(tmp_path):
    rows = np.random.default_rng(0).random((40, 4))
    model = LogisticRegression().fit(rows, (rows[:, 0] > 0.5).astype(int))
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    return path


def build(path: Path, tag: str):
    command = [sys.executable, "-m", "clipper", "build", "svm", "3", str(path), "-t", tag]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def image(engine, saved):
    """A baked model's image; removed afterwards."""
    tag = "clipper-test-baked:3"
    built = build(saved, tag)
    assert (built.returncode, built.stdout) == (0, f"{tag}\n"), built.stderr
    yield engine.images.get(tag)
    engine.images.remove(tag, force=True)


def runtimes(engine, flavor):
    return [image for image in engine.images.list() if image.labels.get("clipper.image") == flavor]


def layers(image):
    return image.attrs["RootFS"]["Layers"]


def test_a_baked_model_says_what_it_is_and_is_the_topmost_layer_only(engine, image, saved):
    assert (
        image.labels.items()
        >= {
            "clipper.model": "svm",
            "clipper.version": "3",
            "clipper.flavor": "sklearn",
            "clipper.input-type": "doubles",
        }.items()
    )
    assert image.attrs["Config"]["User"] == "10001:10001"
    assert layers(image)[:-1] in [layers(runtime) for runtime in runtimes(engine, "sklearn")]
    other = pickle.loads(saved.read_bytes())  # noqa: S301  # our own
    saved.write_bytes(pickle.dumps(other.set_params(C=2.0)))
    assert build(saved, "clipper-test-baked:4").returncode == 0
    newer = engine.images.get("clipper-test-baked:4")
    engine.images.remove("clipper-test-baked:4")
    assert layers(newer)[:-1] == layers(image)[:-1]


def test_a_baked_image_runs_without_a_shell_as_nobody_and_says_that_it_is_healthy(engine, image, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o444)
    container = engine.containers.run(
        image,
        detach=True,
        read_only=True,
        cap_drop=["ALL"],
        network_mode="none",
        volumes={str(secret): {"bind": "/run/clipper/secret", "mode": "ro"}},
    )
    try:
        check = image.attrs["Config"]["Healthcheck"]["Test"]
        assert check[0] == "CMD"  # not CMD-SHELL
        until(lambda: b'"ready"' in container.logs(), "the replica is ready")
        assert container.exec_run(check[1:]).exit_code == 0
        elsewhere = f"from clipper_container.healthcheck import listens; raise SystemExit(not listens({PORT + 1}))"
        assert container.exec_run(["/clipper/venv/bin/python", "-c", elsewhere]).exit_code == 1
    finally:
        container.remove(force=True)


def test_a_models_own_requirements_are_a_layer_between_the_runtime_and_the_model(engine, up):
    def parallel(batch):
        import joblib  # noqa: PLC0415  # not in the image of plain Python

        return [joblib.__name__ for _ in batch]

    server = up()
    server.cl.deploy_model("model", 1, parallel, input_type="doubles", requirements=["joblib"])
    server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    assert server.cl.predict("app", [1.0]).output == "joblib"
    image = server.container("model.1.g1.r0").image
    assert image.labels["clipper.image"] == "python-requirements"
    known = [layers(runtime) for runtime in runtimes(engine, "python")]
    assert any(layers(image)[: len(below)] == below for below in known)


def test_a_wheel_that_a_model_brings_along_is_in_that_layer(up, tmp_path):
    wheel = tmp_path / "greetings-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("greetings.py", "HELLO = 'hello'\n")
        archive.writestr("greetings-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\n")
        archive.writestr(
            "greetings-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("greetings-1.0.dist-info/RECORD", "")

    def greet(batch):
        import greetings  # noqa: PLC0415  # comes with the model

        return [greetings.HELLO for _ in batch]

    server = up()
    server.cl.deploy_model("model", 1, greet, input_type="doubles", requirements=[str(wheel)])
    server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    assert server.cl.predict("app", [1.0]).output == "hello"


def test_a_baked_model_is_deployed_by_the_name_of_its_image(up, image, saved):
    model = pickle.loads(saved.read_bytes())  # noqa: S301  # our own
    server = up()
    (tag,) = image.tags
    server.cl.deploy_model("model", 1, f"docker://{tag}", input_type="doubles", num_replicas=2)
    server.cl.register_application("app", input_type="doubles", slo_ms=5000, models=["model"])
    rows = np.random.default_rng(1).random((5, 4))
    answers = [prediction.output for prediction in server.cl.predict_batch("app", rows.tolist())]
    assert answers == model.predict(rows).tolist()
    assert {container.image.id for container in server.containers().values()} == {image.id}
    assert server.version()["flavor"] == "image"


@pytest.mark.parametrize(
    ("name", "input_type", "sentence"),
    [
        (
            "clipper-test-baked:3",
            "floats",
            "The model in the image clipper-test-baked:3 takes doubles; the version was",
        ),
        ("clipper-base:bookworm", "doubles", "The image clipper-base:bookworm has no model in it that 'clipper build'"),
        (
            "127.0.0.1:1/ml/gone:7",
            "doubles",
            r"neither on the Docker engine nor can it be pulled: .* clipper build \.\.\.",
        ),
    ],
)
def test_an_image_that_cannot_serve_is_a_sentence(up, image, name, input_type, sentence):
    server = up()
    with pytest.raises(clipper.ClipperError, match=sentence):
        server.cl.deploy_model("model", 1, f"docker://{name}", input_type=input_type)


def test_a_build_that_cannot_be_is_a_sentence(tmp_path):
    missing = build(tmp_path / "nothing.pkl", "clipper-test-baked:5")
    assert missing.returncode == 2
    assert "There is no file" in missing.stderr
    assert "Traceback" not in missing.stderr
