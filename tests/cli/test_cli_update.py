"""Feedback from the command line, and applications over several models."""

import json
import secrets

import pytest


def says(number):
    return lambda batch: [number] * len(batch)


@pytest.fixture(scope="session")
def two_models(server) -> list[str]:
    for n in range(2):
        server.deploy_model(f"two-{n}", 1, says(n), input_type="doubles", wait=False)
    for n in range(2):
        server.wait_for_version(f"two-{n}", 1)
    return ["two-0", "two-1"]


@pytest.fixture
def app(run, two_models) -> str:
    name = f"app-{secrets.token_hex(4)}"
    linked = [part for model in two_models for part in ("--model", model)]
    done = run("app", "create", name, "--input-type", "doubles", "--slo-ms", "5000", "--policy", "exp3", *linked)
    assert done.returncode == 0, done.stderr
    return name


def test_a_label_for_a_query(run, app):
    query_id = json.loads(run("predict", app, "[1.0]").stdout)["query_id"]
    done = run("update", app, query_id, "1")
    assert (done.returncode, done.stdout) == (0, "Accepted: 1.\n")
    done = run("update", app, query_id, "1")
    assert (done.returncode, "counts once" in done.stderr) == (1, True)


def test_a_label_for_an_input(run, app):
    done = run("update", app, "1", "--input", "[1.0]", "--uid", "user-7", "--update-id", "order-17")
    assert (done.returncode, done.stdout) == (0, "Accepted: 1.\n")
    done = run("update", app, "1", "--input", "[1.0]", "--update-id", "order-17")
    assert (done.returncode, "order-17" in done.stderr) == (1, True)


def test_a_negative_label_is_a_label(run, app):
    assert run("update", app, "-1", "--input", "[1.0]").stdout == "Accepted: 1.\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("1",), "APP QUERY_ID LABEL"),
        (("a", "1", "2"), "APP QUERY_ID LABEL"),
        (("a", "1", "--input", "[1]"), "APP LABEL --input JSON"),
        (("a", "1", "--uid", "u"), "go with --input"),
        (("a", "cat"), "LABEL must be JSON"),
        (("1", "--input", "cat"), "--input must be JSON"),
    ],
)
def test_what_cannot_be_right_is_bad_usage(run, arguments, part):
    done = run("update", "any", *arguments)
    assert (done.returncode, part in done.stderr) == (2, True), done.stderr


def test_an_application_with_all_its_options(run, two_models):
    name = f"app-{secrets.token_hex(4)}"
    done = run(
        "app", "create", name, "--input-type", "doubles", "--slo-ms", "50", "--default", "-1", "--policy", "exp4",
        "--policy-option", "eta=0.3", "--policy-option", "half_life_feedbacks=null", "--model", two_models[0],
        "--model", two_models[1], "--min-confidence", "0.8", "--loss", "absolute", "--loss-range", "0", "10",
        "--log-inputs", "full",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    info = json.loads(run("app", "show", name).stdout)
    assert info["policy"] == {"name": "exp4", "options": {"eta": 0.3, "half_life_feedbacks": None}}
    assert (info["models"], info["min_confidence"]) == (two_models, 0.8)
    assert (info["loss"], info["loss_range"], info["log_inputs"]) == ("absolute", [0.0, 10.0], "full")


@pytest.mark.parametrize("option", ["eta", "=0.1", "eta=cat"])
def test_a_policy_option_that_is_none_is_bad_usage(run, option):
    done = run("app", "create", "any", "--input-type", "doubles", "--slo-ms", "50", "--policy-option", option)
    assert (done.returncode, "--policy-option" in done.stderr) == (2, True)


def test_models_are_linked_and_unlinked_one_by_one(run, app):
    assert run("unlink", app, "two-0").returncode == 0
    assert json.loads(run("app", "show", app).stdout)["models"] == ["two-1"]
    assert run("link", app, "two-0").returncode == 0
    assert json.loads(run("app", "show", app).stdout)["models"] == ["two-1", "two-0"]


def test_apply_makes_and_changes_an_application_with_its_options(run, tmp_path, two_models):
    name = f"app-{secrets.token_hex(4)}"
    fields = {
        "name": name, "input_type": "doubles", "slo_ms": 50, "default_output": -1, "models": two_models,
        "policy": {"name": "exp4", "options": {"eta": 0.3}}, "min_confidence": 0.5, "loss": "squared",
        "loss_range": [0, 4], "log_inputs": "none",
    }  # fmt: skip
    file = tmp_path / "clipper.yaml"
    file.write_text(json.dumps({"applications": [fields]}))
    assert run("apply", "-f", str(file)).stdout == f"application {name} created\n"
    assert run("apply", "-f", str(file)).stdout == f"application {name} unchanged\n"
    file.write_text(json.dumps({"applications": [fields | {"loss_range": [0, 9], "policy": "majority"}]}))
    done = run("apply", "-f", str(file)).stdout
    assert done.startswith(f"application {name} changed: ")
    assert {"policy", "loss_range"} <= set(done.rpartition(": ")[2].strip().split(", "))
    assert run("apply", "-f", str(file)).stdout == f"application {name} unchanged\n"
