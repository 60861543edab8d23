import json
import pickle
import socket

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import clipper


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.pkl"
    estimator = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
    path.write_bytes(pickle.dumps(estimator))
    return path.name


def done(result) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_first_five_minutes(run, saved):
    deployed = run("deploy", "first", "1", saved, "--replicas", "1")
    assert "first:1 is ready and has the traffic" in done(deployed)
    assert [line for line in deployed.stderr.splitlines() if "packaging" in line or "ready" in line]
    created = run("app", "create", "five", "--input-type", "doubles", "--slo-ms", "5000", "--default", "-1")
    assert "/five/predict" in done(created)
    assert "answers for" in done(run("link", "five", "first"))
    answer = json.loads(done(run("predict", "five", "[1.0]")))
    assert (answer["output"], answer["default"]) == (1, False)
    explained = json.loads(done(run("predict", "five", "[0.5]", "--explain")))
    assert "first:1" in json.dumps(explained["explanation"])
    assert "five" in done(run("app", "ls"))
    assert json.loads(done(run("app", "show", "five")))["default_output"] == -1
    assert "Probability" in done(run("weights", "five"))
    assert "no longer" in done(run("unlink", "five", "first"))
    assert "removed" in done(run("app", "rm", "five"))
    assert run("app", "show", "five").returncode == 1


def test_versions_are_promoted_stopped_and_removed(run, server):
    for version in ("1", "2"):
        arguments = ("deploy", "many", version, "--flavor", "noop", "--input-type", "doubles", "--batching", "fixed:8")
        out = done(run(*arguments, *(["--no-promote"] if version == "2" else [])))
    assert "clipper promote many 2" in out
    assert server.get_model_info("many", 2)["batching"]["size"] == 8
    assert "many:2 has the traffic" in done(run("promote", "many", "2"))
    assert server.get_model_info("many")["target"] == "2"
    assert "1 replica" in done(run("scale", "many:1", "1"))
    assert "==> many." in done(run("logs", "many", "-n", "2"))
    replica = next(r["replica_id"] for r in server.get_all_model_replicas() if r["model"] == "many")
    assert done(run("logs", replica))
    assert done(run("stop", "many:1"))
    assert server.get_model_info("many", 1)["wanted"] is False
    assert done(run("stop", "many"))
    assert done(run("rm", "many"))
    assert "many" not in server.get_all_models()


def test_the_status_shows_everything(run, server):
    server.deploy_model("watched", 1, None, flavor="noop", input_type="doubles")
    server.register_application("watching", input_type="doubles", slo_ms=5000, models=["watched"])
    server.predict("watching", [1.0])
    server.register_application("unanswered", input_type="doubles", slo_ms=20, default_output=0)
    assert server.predict("unanswered", [1.0]).default
    out = done(run("status"))
    assert "unanswered defaults: no_model_ready 1" in out
    for word in ("ready", "watching", "watched:1", "(current)", "1/1", "deadline", "Mean batch", "P99 ms", "Replicas"):
        assert word in out
    assert "\x1b" not in out
    status = json.loads(done(run("status", "--json")))
    assert status["query"] == server.get_status()["query"]


@pytest.mark.parametrize("columns", ["30", "60", "90", "120", "200"])
def test_the_status_fits_the_width(run, server, columns):
    out = done(run("status", COLUMNS=columns))
    assert max(map(len, out.splitlines())) <= int(columns)


def test_the_status_of_a_failed_version_has_its_reason_and_last_words(run, server, tmp_path):
    (tmp_path / "model.py").write_text("raise RuntimeError('no weights')\n\ndef predict(b):\n    return b\n")
    failed = run("deploy", "sick", "1", "model.py", "--input-type", "doubles")
    assert failed.returncode == 1
    assert "no weights" in failed.stderr
    assert "Traceback (most recent call last)" not in failed.stdout
    out = done(run("status"))
    assert "failed" in out
    assert "no weights" in out
    server.delete_model("sick")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("app", "show", "nobody"), "nobody"),
        (("promote", "nobody", "1"), "nobody"),
        (("scale", "nobody", "2"), "nobody"),
        (("logs", "nobody"), "nobody"),
        (("predict", "nobody", "[1]"), "nobody"),
        (("stop", "nobody"), "nobody"),
        (("link", "nobody", "nothing"), "nobody"),
        (("weights", "nobody"), "nobody"),
        (("app", "create", "Bad", "--input-type", "doubles", "--slo-ms", "1"), "name"),
        (("app", "create", "a", "--input-type", "numbers", "--slo-ms", "1"), "input_type"),
    ],
)
def test_what_the_server_refuses_is_its_sentence_and_exit_1(run, arguments, sentence):
    result = run(*arguments)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("app", "create"),
        ("app", "create", "a", "--input-type", "doubles", "--slo-ms", "soon"),
        ("app", "create", "a", "--input-type", "doubles", "--slo-ms", "1", "--default", "{"),
        ("predict", "a", "not json"),
        ("deploy", "m", "1"),
        ("deploy", "m", "1", "missing.pkl"),
        ("scale", "m:", "2"),
        ("scale", "m", "many"),
        ("status", "--nonsense"),
        ("apply",),
        ("apply", "-f", "missing.yaml"),
        ("up", "--manager", "nomad"),
        ("up", "--store", "redis://localhost"),
        ("up", "--frontends", "0"),
        ("up", "--query-port", "99999"),
        ("up", "--admin-host", "0.0.0.0"),
        ("up", "--log-level", "loud"),
    ],
)
def test_bad_usage_is_a_sentence_and_exit_2(run, arguments):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stderr.strip()
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_the_exit_code_is_that_of_the_process(run_process):
    """The other tests call the command where they run."""
    assert run_process("app", "ls").returncode == 0
    refused = run_process("app", "show", "nobody")
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", "There is no application 'nobody'.\n")


@pytest.mark.parametrize("arguments", [("m.py", "--input-type", "double"), ("empty.pkl",)])
def test_a_model_that_cannot_be_packaged_is_a_sentence_and_exit_2(run, tmp_path, arguments):
    (tmp_path / "m.py").write_text("def predict(batch):\n    return batch\n")
    (tmp_path / "empty.pkl").write_bytes(b"")
    refused = run("deploy", "unpackaged", "1", *arguments)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "'double'" in refused.stderr or "'empty.pkl'" in refused.stderr


def test_a_version_that_failed_is_deployed_again_under_its_name(run, server, tmp_path):
    source = tmp_path / "model.py"
    deploy = ("deploy", "mended", "1", "model.py", "--input-type", "doubles")
    source.write_text("import no_such_module\n\ndef predict(batch):\n    return batch\n")
    assert run(*deploy).returncode == 1
    server.register_application("mending", input_type="doubles", slo_ms=5000, models=["mended"])
    source.write_text("def predict(batch):\n    return [row.sum() for row in batch]\n")
    assert "mended:1 is ready and has the traffic" in done(run(*deploy))
    assert server.predict("mending", [1.0, 2.0]).output == 3
    again = run(*deploy)
    assert again.returncode == 1
    assert "exists" in again.stderr


def test_the_query_address_for_the_admin_address_is_told(run, server):
    refused = run("status", url=server.get_status()["query"])
    assert refused.returncode == 1
    assert "The admin API is on a port of its own" in refused.stderr


def test_no_server_is_exit_3(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for arguments in (("status",), ("predict", "a", "[1]"), ("app", "ls"), ("logs", "m")):
        result = run(*arguments, url=url)
        assert result.returncode == 3
        assert result.stderr.startswith(f"Cannot reach {url}")


def test_a_token_comes_from_the_environment(run):
    token = "secret"
    with clipper.local(admin_token=token) as cl:
        url = cl.session.admin_url
        assert run("status", url=url).returncode == 1
        assert run("status", url=url, CLIPPER_ADMIN_TOKEN=token).returncode == 0


def test_the_address_can_be_an_option(run, server):
    assert run("--url", server.session.admin_url, "app", "ls", url="http://127.0.0.1:9").returncode == 0
    assert run("--url", "nonsense", "app", "ls").returncode == 2


def test_help_and_version(run):
    assert done(run("--version")).startswith("clipper 0.")
    out = done(run("--help"))
    for command in ("up", "apply", "deploy", "app", "link", "unlink", "promote", "scale", "stop", "status", "weights"):
        assert command in out
    assert "--query-port" in done(run("up", "--help", COLUMNS="120"))
    assert "--until-eof" not in done(run("up", "--help", COLUMNS="120"))


def test_feedback_is_the_servers_business(run, server):
    server.register_application("feeding", input_type="doubles", slo_ms=20, default_output=0)
    assert run("update", "feeding", "q-1", "3").returncode == 1
    assert run("update", "feeding", "q-1", "three").returncode == 2
