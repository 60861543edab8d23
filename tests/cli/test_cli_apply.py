import pickle
import textwrap

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression


@pytest.fixture
def write(tmp_path):
    estimator = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(estimator))

    def to_file(text: str) -> str:
        (tmp_path / "clipper.yaml").write_text(textwrap.dedent(text))
        return "clipper.yaml"

    return to_file


WHOLE = """
links:
  - {application: applied-late, model: applied}
applications:
  - {name: applied-app, input_type: doubles, slo_ms: 5000, default_output: -1, models: [applied]}
  - {name: applied-late, input_type: doubles, slo_ms: 5000}
models:
  - name: applied
    current: 1
    versions:
      - {version: 1, path: model.pkl, replicas: 1}
      - {version: idle, flavor: noop, input_type: doubles, replicas: 0}
"""


def test_a_file_is_carried_out_once_and_then_changes_nothing(run, server, write):
    first = run("apply", "-f", write(WHOLE))
    assert first.returncode == 0, first.stderr
    assert "version applied:1 deployed" in first.stdout
    assert "application applied-app created" in first.stdout
    assert "link applied-late -> applied created" in first.stdout
    assert "version applied:1 ready" in first.stdout
    assert server.predict("applied-app", [1.0]).output == 1
    revision = server.get_status()["revision"]
    second = run("apply", "-f", write(WHOLE))
    assert second.returncode == 0, second.stderr
    assert all(line.endswith("unchanged") for line in second.stdout.splitlines())
    assert len(second.stdout.splitlines()) == 5
    assert server.get_status()["revision"] == revision


def test_only_what_differs_is_changed(run, server, write):
    text = """
    models:
      - {name: differing, versions: [{version: 1, flavor: noop, input_type: doubles, replicas: %d}]}
    applications:
      - {name: differing, input_type: doubles, slo_ms: %d, models: [differing]}
    """
    assert run("apply", "-f", write(text % (0, 20)), "--no-wait").returncode == 0
    server.update_application("differing", default_output="kept")
    changed = run("apply", "-f", write(text % (1, 30))).stdout
    assert "version differing:1 changed: replicas" in changed
    assert "application differing changed: slo_ms" in changed
    info = server.get_app_info("differing")
    assert (info["slo_ms"], info["default_output"]) == (30, "kept")


def test_current_moves_the_traffic(run, server, write):
    text = """
    models:
      - name: flipped
        current: %s
        versions:
          - {version: a, flavor: noop, input_type: doubles}
          - {version: b, flavor: noop, input_type: doubles}
    """
    for version in ("a", "b", "a"):
        assert run("apply", "-f", write(text % version)).returncode == 0
        assert server.get_model_info("flipped")["target"] == version


def test_of_several_new_versions_the_last_has_the_traffic_and_no_other_is_waited_for(run, server, write):
    done = run(
        "apply",
        "-f",
        write("""
        models:
          - name: successive
            versions:
              - {version: 1, path: model.pkl}
              - {version: 2, path: model.pkl}
        """),
    )
    assert done.returncode == 0, done.stderr
    assert server.get_current_model_version("successive") == "2"


def test_other_content_under_the_same_version_is_refused(run, server, write, tmp_path):
    text = "models: [{name: contents, versions: [{version: 1, path: model.py, input_type: json, replicas: 0}]}]"
    (tmp_path / "model.py").write_text("def predict(b): return b")
    assert run("apply", "-f", write(text), "--no-wait").returncode == 0
    (tmp_path / "model.py").write_text("def predict(b): return [0 for _ in b]")
    refused = run("apply", "-f", write(text), "--no-wait")
    assert refused.returncode == 1
    assert "contents:1" in refused.stderr
    assert "new version" in refused.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("models: [", "line"),
        ("models:\n  - name: a\n    versions:\n      - version: 1\n", "clipper.yaml:4"),
        ("models:\n  - name: a\n    version: 1\n", "version"),
        ("applications:\n  - {name: a, input_type: doubles}\n", "slo_ms"),
        ("applications:\n  - name: a\n    input_type: doubles\n    slo_ms: soon\n", "clipper.yaml:4"),
        ("nonsense: 1\n", "nonsense"),
        ("- 1\n", "clipper.yaml:1"),
        ("applications: [{name: Bad, input_type: doubles, slo_ms: 1}]", "name"),
        ("models: [{name: a, versions: [{version: 1, path: missing.pkl}]}]", "missing.pkl"),
        ("models: [{name: a, versions: [{version: 1, path: a.pkl, address: 'tcp:h:1'}]}]", "not both"),
        ("models: [{name: a, versions: [{version: 1, path: a.pkl, secret_file: s}]}]", "for a container"),
        ("models: [{name: a, versions: [{version: 1, address: 'grpc://h'}]}]", "grpc://host:port/model"),
        ("models: [{name: a, versions: [{version: 1, flavor: noop, replicas: {min: 3, max: 2}}]}]", "'min' (3)"),
        ("models: [{name: a, versions: [{version: 1, flavor: noop, canary: lots}]}]", "'5%'"),
    ],
)
def test_a_file_that_is_wrong_is_a_sentence_with_its_place(run, write, text, sentence):
    result = run("apply", "-f", write(text))
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_an_empty_file_changes_nothing(run, write):
    result = run("apply", "-f", write(""))
    assert (result.returncode, result.stdout) == (0, "")


def test_a_version_that_failed_takes_other_content(run, write, tmp_path):
    text = "models: [{name: mending-file, versions: [{version: 1, path: m.py, input_type: doubles}]}]"
    (tmp_path / "m.py").write_text("import no_such_module\n\ndef predict(batch):\n    return batch\n")
    failed = run("apply", "-f", write(text))
    assert failed.returncode == 1
    assert "no_such_module" in failed.stderr
    assert "mending-file:1 unchanged (it failed:" in run("apply", "-f", write(text)).stdout
    (tmp_path / "m.py").write_text("def predict(batch):\n    return list(batch)\n")
    assert "version mending-file:1 ready" in run("apply", "-f", write(text)).stdout


def test_a_stopped_version_is_left_alone_and_said_to_be_stopped(run, server, write):
    text = "models: [{name: halted, versions: [{version: 1, flavor: noop, input_type: doubles}]}]"
    assert run("apply", "-f", write(text)).returncode == 0
    server.stop_models("halted")
    again = run("apply", "-f", write(text))
    assert again.stdout == "version halted:1 unchanged (it is stopped; to start it: clipper promote halted 1)\n"


def test_a_range_of_replicas_and_a_canary(run, server, write):
    text = """
    models:
      - name: moving
        versions:
          - {version: 1, flavor: noop, input_type: doubles, replicas: {min: 1, max: 3}}
    """
    assert run("apply", "-f", write(text)).returncode == 0
    second = "- {version: 2, flavor: noop, input_type: doubles, replicas: 1-2, canary: 5%}"
    canary = f"{text.rstrip()}\n          {second}\n"
    assert "version moving:2 ready" in run("apply", "-f", write(canary)).stdout
    info = server.get_model_info("moving")
    assert (info["target"], info["canary"]) == ("1", "2")
    assert [version["replicas"]["bounds"] for version in info["versions"]] == [
        {"min": 1, "max": 3},
        {"min": 1, "max": 2},
    ]
    again = run("apply", "-f", write(canary)).stdout
    assert again.count("unchanged") == 2
    assert server.get_model_info("moving")["canary"] == "2"


def test_what_runs_elsewhere_is_registered_and_then_left_alone(run, server, write, tmp_path):
    text = """
    models:
      - name: elsewhere
        versions: [{version: 1, address: "unix:%s/s", secret_file: secret, input_type: doubles}]
    """
    (tmp_path / "secret").write_text("a secret that both ends know\n")
    assert run("apply", "--no-wait", "-f", write(text % tmp_path)).returncode == 0
    assert server.get_model_info("elsewhere", 1)["address"] == f"unix:{tmp_path}/s"
    assert "version elsewhere:1 unchanged" in run("apply", "--no-wait", "-f", write(text % tmp_path)).stdout
    moved = run("apply", "--no-wait", "-f", write(text % "/elsewhere"))
    assert moved.returncode == 1
    assert "another content than 'unix:/elsewhere/s'" in moved.stderr
