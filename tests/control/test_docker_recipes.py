"""What images are made of, and what the engine's words become; no engine is needed."""

import io
import tarfile
from pathlib import Path

import pytest

from clipper.control.docker.containers import Ending, describe, seconds
from clipper.control.docker.endings import reason_of
from clipper.control.docker.recipes import Kitchen, image_files, pinned
from clipper.control.docker.tars import add_file, streamed
from clipper.errors import InvalidRequest

NO_MODEL = Path("no-model")
KITCHEN = Kitchen("python:{python}-slim", None)
FLAVORS = ("python", "sklearn", "torch", "tensorflow", "onnx", "mlflow")
SAVED = {"python": "3.11.7", "packages": {"scikit-learn": "1.9.1", "numpy": "2.4.6"}}


def tags(flavor="sklearn", **changed):
    return [recipe.tag() for recipe in KITCHEN.recipes(flavor, SAVED | changed, NO_MODEL)]


def test_another_model_of_the_same_versions_has_the_same_images():
    assert tags() == tags(input_width=7, entry="other.pkl")


def test_another_version_of_the_framework_has_other_images():
    newer = tags(packages=SAVED["packages"] | {"scikit-learn": "1.9.2"})
    assert all(one != another for one, another in zip(tags(), newer, strict=True))


def test_a_models_requirements_are_one_more_image_on_the_same_two():
    with_requirements = tags(requirements=["pandas==3.0"])
    assert with_requirements[:2] == tags()
    assert with_requirements[2].startswith("clipper-sklearn-requirements:")


def test_wheels_that_the_requirements_name_go_into_their_layer_and_its_name(tmp_path):
    wheels = tmp_path / "requirements"
    wheels.mkdir()
    (wheels / "own-1-py3-none-any.whl").write_bytes(b"one")
    saved = SAVED | {"requirements": ["./requirements/own-1-py3-none-any.whl"]}
    *_, layer = KITCHEN.recipes("sklearn", saved, tmp_path)
    context = io.BytesIO()
    layer.context(context)
    context.seek(0)
    with tarfile.open(fileobj=context) as tar:
        names = tar.getnames()
    assert {"own/requirements.txt", "own/requirements/own-1-py3-none-any.whl"} <= set(names)
    before = layer.tag()
    (wheels / "own-1-py3-none-any.whl").write_bytes(b"two")
    assert layer.tag() != before


def test_what_the_framework_layer_has_under_another_name_is_not_installed_again():
    packages = {"mlflow": "3.1.0"}
    lines = ["mlflow==3.1.0", "pandas==2.2.0"]
    *_, further = KITCHEN.recipes("mlflow", {"packages": packages, "requirements": lines}, NO_MODEL)
    assert further.files == {"own/requirements.txt": b"pandas==2.2.0\n"}
    assert len(KITCHEN.recipes("mlflow", {"packages": packages, "requirements": lines[:1]}, NO_MODEL)) == 2
    assert len(KITCHEN.recipes("mlflow", {"packages": packages, "requirements": ["mlflow==3.2.0"]}, NO_MODEL)) == 3


def test_the_base_image_has_the_python_that_the_model_was_saved_with():
    framework, _ = KITCHEN.recipes("sklearn", SAVED, NO_MODEL)
    assert framework.arguments["BASE"] == "python:3.11-slim"


@pytest.mark.parametrize(
    ("flavor", "packages", "installed"),
    [
        ("sklearn", {}, ["scikit-learn"]),
        ("sklearn", {"scikit-learn": "1.9.1"}, ["scikit-learn==1.9.1"]),
        ("torch", {"torch": "2.13.0+cpu"}, ["torch==2.13.0"]),
        ("tensorflow", {"tensorflow": "2.21.0"}, ["tensorflow-cpu==2.21.0"]),
        ("python", {"numpy": "2.4.6", "cloudpickle": "3.1.2"}, ["cloudpickle==3.1.2", "numpy==2.4.6"]),
    ],
)
def test_what_the_model_was_saved_with_is_what_is_installed(flavor, packages, installed):
    assert pinned(flavor, packages) == installed


@pytest.mark.parametrize("flavor", FLAVORS)
def test_every_flavor_has_a_dockerfile_that_copies_nothing_of_a_model(flavor):
    text = (image_files() / flavor / "Dockerfile").read_text()
    copied = [line.split()[1] for line in text.splitlines() if line.startswith("COPY")]
    assert copied == ["wheels", "--from=packages"]


def test_the_runtime_needs_no_shell_and_is_not_root():
    lines = (image_files() / "runtime.Dockerfile").read_text().splitlines()
    for instruction in ("CMD", "ENTRYPOINT", "RUN"):
        assert all("[" in line for line in lines if line.strip().startswith(instruction)), instruction
    assert "USER 10001:10001" in lines


def test_a_context_has_the_same_bytes_every_time(tmp_path):
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    recipe = Kitchen("base", tmp_path).recipes("sklearn", SAVED, NO_MODEL)[0]
    contexts = []
    for _ in range(2):
        buffer = io.BytesIO()
        recipe.context(buffer)
        contexts.append(buffer.getvalue())
    assert contexts[0] == contexts[1]
    with tarfile.open(fileobj=io.BytesIO(contexts[0])) as tar:
        assert tar.getnames() == ["Dockerfile", "wheels", "wheels/a-1-py3-none-any.whl"]


def test_a_stream_that_nobody_reads_to_its_end_leaves_no_thread_waiting():
    written = []

    def write(sink):
        with tarfile.open(fileobj=sink, mode="w|") as tar:
            for number in range(1000):
                add_file(tar, f"f{number}", b"x" * 10_000)
                written.append(number)

    stream = streamed(write)
    next(stream)
    stream.close()  # waits for the thread
    assert len(written) < 1000


def test_a_stream_whose_source_cannot_be_read_ends_with_that_error():
    def write(sink):
        sink.write(b"x")
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        list(streamed(write))


@pytest.mark.parametrize(
    ("ending", "engine_was_away", "sentence"),
    [
        (None, False, "its container was removed by somebody else"),
        (Ending(137, True, ""), False, "used more memory than its container may (limits.memory_mb)"),
        (Ending(137, False, ""), False, "killed by signal 9 (SIGKILL)"),
        (Ending(139, False, ""), False, "killed by signal 11 (SIGSEGV)"),
        (Ending(4, False, ""), False, "its model could not be loaded"),
        (Ending(0, False, ""), True, "when the Docker engine was stopped or restarted"),
        (Ending(127, False, "no such file."), False, "its container could not run: no such file"),
    ],
)
def test_each_ending_has_its_sentence(ending, engine_was_away, sentence):
    assert sentence in reason_of(ending, None, engine_was_away=engine_was_away)


INSPECTED = {
    "Name": "/c",
    "Config": {
        "Labels": {
            "clipper.replica": "m.1.g3.r0",
            "clipper.model": "m",
            "clipper.version": "1",
            "clipper.generation": "3",
        }
    },
    "State": {"Pid": 42, "StartedAt": "2026-11-21T05:32:50.987555700Z"},
    "NetworkSettings": {
        "Networks": {"n": {"IPAddress": "10.0.0.2"}},
        "Ports": {"7000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}]},
    },
}


def test_a_replica_is_dialled_at_its_own_address_or_at_the_engines():
    assert describe(INSPECTED, None).address == "tcp:10.0.0.2:7000"
    assert describe(INSPECTED, "build.example.com").address == "tcp:build.example.com:32768"
    assert describe(INSPECTED, "fd00::1").address == "tcp:[fd00::1]:32768"


def test_a_container_without_an_address_is_none_of_ours():
    ended = INSPECTED | {"NetworkSettings": {"Networks": {"n": {"IPAddress": ""}}, "Ports": {}}}
    with pytest.raises(InvalidRequest, match="/c"):
        describe(ended, None)
    with pytest.raises(InvalidRequest, match="/c"):
        describe(ended, "localhost")


def test_the_engines_time_is_read_to_the_microsecond():
    assert seconds("1970-01-01T00:00:01.500000001Z") == pytest.approx(1.5)
    assert seconds("1970-01-01T00:00:02Z") == 2.0


def test_the_dockerfiles_are_those_of_this_checkout():
    assert image_files() == Path(__file__).parents[2] / "containers" / "images"
