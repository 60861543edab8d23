"""Environments for models with requirements of their own: real ones, from wheels made by hand, without any network."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from wheels import make_wheel

from clipper.control.environments import Environments
from clipper.control.installing import _sentence, _shortened
from clipper.control.manager import NotPrepared
from clipper.control.requirements import environment_key, lacking


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
async def environments(tmp_path):
    made = Environments(tmp_path / "environments")
    yield made
    await made.close()
    assert made._creations == {}


@pytest.fixture
def artifact(tmp_path):
    directory = tmp_path / "artifact"
    directory.mkdir()
    return directory


def links(tmp_path):
    return f"--find-links {tmp_path / 'wheels'}"


def run(python, code):
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def left_in(root: Path) -> set[str]:
    return {"link" if entry.is_symlink() else "directory" for entry in root.iterdir()} if root.is_dir() else set()


async def test_what_the_server_has_already_needs_no_environment(environments, artifact, tmp_path):
    lines = ["numpy>=1.26", "scikit-learn", "--pre", "nowhere-at-all; python_version < '3'"]
    assert await environments.python(lines, artifact, 1, print) == Path(sys.executable)
    assert not (tmp_path / "environments").exists()


@pytest.mark.parametrize(
    ("line", "lacks"),
    [
        ("numpy", False),
        ("numpy<1", True),
        ("NumPy>=1.0", False),
        ("nowhere-at-all", True),
        ("numpy[extra]", True),
        ("./requirements/x.whl", True),
        ("numpy @ https://example.org/numpy.whl", True),
        ("numpy --hash=sha256:00", False),
    ],
)
def test_what_is_lacking_is_told_without_pip(line, lacks):
    assert lacking(["--pre", line]) == (["--pre", line] if lacks else [])


async def test_an_environment_has_what_it_was_made_for_and_all_that_the_server_has(environments, artifact, tmp_path):
    make_wheel(tmp_path / "wheels")
    told = []
    python = await environments.python([links(tmp_path), "tinymodel==1.0"], artifact, 1, told.append)
    code = "import tinymodel, numpy, clipper_container, sys; print(tinymodel.ANSWER, sys.prefix)"
    assert run(python, code) == f"42 {python.parents[1]}"
    version = "import numpy; print(numpy.__version__)"
    assert run(python, version) == run(sys.executable, version)
    assert told[0] == "installing requirements"
    assert any(doing.startswith("installing requirements: Processing tinymodel-1.0") for doing in told)
    assert left_in(tmp_path / "environments") == {"link", "directory"}


async def test_its_own_version_of_a_package_comes_before_the_server_s(environments, artifact, tmp_path):
    make_wheel(tmp_path / "wheels", "tabulate_of_ours", "1.0")
    make_wheel(tmp_path / "wheels", "cloudpickle", "99.0", "__version__ = '99.0'\n")
    python = await environments.python([links(tmp_path), "cloudpickle==99.0"], artifact, 1, print)
    assert run(python, "import cloudpickle; print(cloudpickle.__version__)") == "99.0"
    import cloudpickle  # noqa: PLC0415 (to see that the server's own is untouched)

    assert cloudpickle.__version__ != "99.0"


async def test_the_runtime_s_own_needs_are_kept(environments, artifact, tmp_path):
    make_wheel(tmp_path / "wheels", "numpy", "1.0")
    with pytest.raises(NotPrepared, match="numpy"):
        await environments.python([links(tmp_path), "numpy==1.0"], artifact, 1, print)
    assert left_in(tmp_path / "environments") == set()


async def test_those_who_need_the_same_at_a_time_share_one_installation(environments, artifact, tmp_path):
    make_wheel(tmp_path / "wheels")
    lines = [links(tmp_path), "tinymodel"]
    told = [[] for _ in range(3)]
    pythons = await asyncio.gather(
        *(environments.python(lines, artifact, number, told[number].append) for number in range(3))
    )
    assert len(set(pythons)) == 1
    assert all(told)
    assert sorted(user.name for user in (pythons[0].parents[1] / "users").iterdir()) == ["0", "1", "2"]
    again = []
    assert await environments.python(lines, artifact, 7, again.append) == pythons[0]
    assert again == [], "made once"


async def test_a_wheel_of_the_artifact_is_installed_and_another_one_is_another_environment(environments, artifact):
    line = "./requirements/tinymodel-1.0-py3-none-any.whl"
    make_wheel(artifact / "requirements")
    one = await environments.python([line], artifact, 1, print)
    make_wheel(artifact / "requirements", source="ANSWER = 43\n")
    other = await environments.python([line], artifact, 1, print)
    assert (run(one, "import tinymodel; print(tinymodel.ANSWER)"), one != other) == ("42", True)
    assert run(other, "import tinymodel; print(tinymodel.ANSWER)") == "43"


async def test_a_failed_installation_says_pip_s_last_words_and_leaves_nothing(environments, artifact, tmp_path):
    with pytest.raises(NotPrepared) as raised:
        await environments.python(["nowhere-at-all==9"], artifact, 1, print)
    assert raised.value.message.startswith("its requirements could not be installed (pip ended with code 1): ")
    assert "No matching distribution found for nowhere-at-all==9" in raised.value.message
    assert "ERROR" in raised.value.last_words
    assert left_in(tmp_path / "environments") == set()
    make_wheel(tmp_path / "wheels", "nowhere_at_all", "9")
    assert await environments.python([links(tmp_path), "nowhere-at-all==9"], artifact, 1, print)


async def test_the_last_one_to_lose_interest_ends_the_installation(environments, artifact, tmp_path):
    project = tmp_path / "slow"
    project.mkdir()
    gate = tmp_path / "reached"
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (project / "backend.py").write_text(
        f"import time\n\ndef build_wheel(*_, **__):\n    open({str(gate)!r}, 'w').close()\n    time.sleep(600)\n"
    )
    lines = [f"slow @ file://{project}"]
    waiting = [asyncio.create_task(environments.python(lines, artifact, n, lambda _doing: None)) for n in (1, 2)]
    while not gate.exists():  # noqa: ASYNC110  # a file has no event
        await asyncio.sleep(0.01)
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    assert environments._creations, "the other one still waits"
    (creation,) = environments._creations.values()
    waiting[1].cancel()
    await asyncio.wait([waiting[1], creation.task])
    assert isinstance(creation.task.exception(), NotPrepared)
    assert left_in(tmp_path / "environments") == set()


async def test_what_no_version_uses_is_removed_and_what_one_uses_stays(environments, artifact, tmp_path):
    for name in ("one", "other"):
        make_wheel(tmp_path / "wheels", name)
    used = await environments.python([links(tmp_path), "one"], artifact, 1, print)
    unused = await environments.python([links(tmp_path), "other"], artifact, 2, print)
    (tmp_path / "environments" / "left.over").mkdir()
    await environments.collect({1, 2}, unused_for_s=0)
    assert used.exists()
    assert unused.exists()
    assert not (tmp_path / "environments" / "left.over").exists()
    await environments.collect({1})
    assert unused.exists(), "it may be needed again soon"
    await environments.collect({1}, unused_for_s=0)
    assert used.exists()
    assert not unused.exists()
    await environments.collect(set(), unused_for_s=0)
    assert left_in(tmp_path / "environments") == set()


def test_an_environment_depends_on_its_lines_and_its_wheels(tmp_path):
    keys = {environment_key(["a"], tmp_path), environment_key(["a", "b"], tmp_path), environment_key(["b"], tmp_path)}
    make_wheel(tmp_path / "requirements")
    keys.add(environment_key(["a"], tmp_path))
    assert len(keys) == 4
    assert environment_key(["a"], tmp_path) in keys


def test_what_pip_says_is_told_without_addresses():
    line = "  Downloading https://user:secret@example.org/simple/tiny-1.0.whl (2 kB)\n"
    assert _shortened(line) == "Downloading tiny-1.0.whl (2 kB)"
    assert _shortened("Collecting tiny (from -r /data/x/requirements.txt (line 1))") == "Collecting tiny"


def test_pip_s_errors_are_the_sentence_and_else_its_last_line():
    assert _sentence(["Collecting x", "ERROR: No x.", "ERROR: None at all.", ""], 1).endswith("1): No x. None at all.")
    assert _sentence(["one", "two", ""], 2).endswith("(pip ended with code 2): two")


async def test_without_any_pip_the_sentence_says_what_to_do(environments, artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    def no_ensurepip(*_args, **_options):
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr("venv.EnvBuilder._setup_pip", no_ensurepip)
    with pytest.raises(NotPrepared, match="install pip into the server's environment"):
        await environments.python(["nowhere-at-all"], artifact, 1, print)
    assert left_in(tmp_path / "environments") == set()
