import json

import pyarrow.parquet
import pytest

import clipper

RIGHT = {"low": 0, "high": 1}


@pytest.fixture(scope="module")
def taught(server) -> clipper.Connection:
    """Two models, one of which is right, behind a bandit and behind an ensemble; both have had feedback."""
    server.deploy_model("low", 1, lambda rows: [0 for _ in rows], input_type="doubles")
    server.deploy_model("high", 1, lambda rows: [1 for _ in rows], input_type="doubles")
    for app, policy in (("one-of", "exp3"), ("all-of", "exp4")):
        server.register_application(app, input_type="doubles", slo_ms=5000, policy=policy, models=list(RIGHT))
        for number in range(30):
            prediction = server.predict(app, [float(number)], uid="ann" if number % 3 else None)
            server.update(app, query_id=prediction.query_id, label=1)
    return server


def done(result) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_weights_show_who_is_right(run, taught):
    out = done(run("weights", "all-of"))
    assert "all-of: exp4" in out
    assert "30 feedbacks" in out
    assert "high:1" in out
    assert "for 'ann'" in done(run("weights", "all-of", "--uid", "ann"))


def test_watching_ends_with_ctrl_c(run, taught, monkeypatch):
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    assert "high:1" in done(run("weights", "all-of", "--watch", "--interval-s", "0.5"))
    assert looks == [0.5] * 3


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_weights_are_drawn_from_the_log(run, taught, tmp_path, suffix):
    assert "Written to" in done(run("weights", "one-of", "--plot", f"weights.{suffix}", "--uid", "ann"))
    assert (tmp_path / f"weights.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("weights", "one-of", "--plot", "w.bmp"), ".png"),
        (("weights", "one-of", "--plot", "w.png", "--watch"), "Give one of them"),
        (("weights", "one-of", "--since", "1d"), "--since belongs to --plot"),
        (("weights", "one-of", "--plot", "w.png", "--uid", "nobody"), "no feedback of 'nobody'"),
        (("feedback", "export", "one-of", "-o", "log.csv"), ".parquet or .jsonl"),
        (("feedback", "stats", "one-of", "--since", "soon"), "7d, 12h"),
        (("policy", "evaluate", "one-of", "--policy", "exp3 eta"), "NAME=VALUE"),
        (("policy", "evaluate", "one-of", "--policy", " "), "it is empty"),
        (("policy", "evaluate", "one-of", "--policy", "single"), "each model alone"),
        (("policy", "evaluate", "one-of", "--option", "eta=1"), "--option belongs to a --policy"),
        (("uid", "erase", "ann"), "--yes"),
    ],
)
def test_what_cannot_be_is_bad_usage_with_a_sentence(run, taught, arguments, sentence):
    result = run(*arguments)
    assert (result.returncode, sentence in result.stderr) == (2, True), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("policy", "evaluate", "one-of", "--policy", "nonsense"),
        ("feedback", "stats", "nowhere"),
        ("weights", "nowhere"),
    ],
)
def test_what_is_not_known_is_refused_with_a_sentence(run, taught, arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr


def test_statistics_are_a_table_or_json(run, taught):
    out = done(run("feedback", "stats", "all-of", "--since", "1h", "--by-hour"))
    assert "30 feedbacks on 'all-of'" in out
    assert "agreement: all models said the same in 0.0%" in out
    said = json.loads(done(run("feedback", "stats", "all-of", "--json")))
    assert (said["feedbacks"], said["with_uid"], said["models"]["low:1"]["loss"]) == (30, 20, 1.0)
    assert "no feedback in that time" in done(run("feedback", "stats", "all-of", "--until", "2001-01-01"))


def test_the_log_becomes_a_file(run, taught, tmp_path):
    assert "30 records written" in done(run("feedback", "export", "all-of", "-o", "log.parquet"))
    assert "30 records written" in done(run("feedback", "export", "all-of", "--since", "1h", "-o", "log.jsonl"))
    rows = pyarrow.parquet.read_table(tmp_path / "log.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["query_id"] for row in rows] == [line["query_id"] for line in lines]
    assert all(line["label"] == 1 and sorted(line["outputs"]) == [0, 1] for line in lines)


def test_policies_are_compared_on_the_log(run, taught):
    out = done(run("policy", "evaluate", "all-of", "--policy", "exp3 eta=.5", "--policy", "majority"))
    rows = [line.split("  ")[0].strip() for line in out.splitlines()]
    assert {"exp4 (current)", "exp3 eta=.5", "majority", "low", "high", "what was answered"} <= set(rows)
    assert rows.index("high") < rows.index("low")
    assert "30 of them with the outputs of all models" in out


def test_an_ensemble_is_not_judged_by_the_log_of_a_bandit(run, taught):
    out = done(run("policy", "evaluate", "one-of", "--since", "1h"))
    assert "No support for exp4, majority, average" in " ".join(out.split())


def test_programs_get_everything(run, taught):
    said = json.loads(done(run("policy", "evaluate", "all-of", "--policy", "ucb1", "--json", "--seed", "3")))
    by_name = {it["name"]: it for it in said["estimates"]}
    assert (said["feedbacks"], by_name["high"]["loss"], by_name["low"]["loss"]) == (30, 0.0, 1.0)
    low, high = by_name["ucb1"]["interval"]
    assert 0.0 <= low <= by_name["ucb1"]["loss"] <= high <= 1.0
    again = json.loads(done(run("policy", "evaluate", "all-of", "--policy", "ucb1", "--json", "--seed", "3")))
    assert again == said


def test_nothing_can_be_said_without_feedback(run, taught):
    assert "nothing can be said" in done(run("policy", "evaluate", "all-of", "--until", "2001-01-01"))


def test_a_person_is_erased(run, taught):
    prediction = taught.predict("all-of", [77.0], uid="gone")
    taught.update("all-of", query_id=prediction.query_id, label=1)
    assert "1 record of feedback" in done(run("uid", "erase", "gone", "--yes"))
    assert all(record.get("uid") != "gone" for record in taught.read_feedback("all-of"))
