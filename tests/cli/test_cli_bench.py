"""``clipper bench load`` against a real server."""

import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest

PROTOCOLS = {
    "rest": ("--protocol", "rest"),
    "oip": ("--protocol", "oip"),
    "grpc": ("--protocol", "grpc"),
    "grpc stream": ("--protocol", "grpc", "--stream"),
}


def total(rows):
    if (rows[:, 0] < 0).any():
        raise ValueError("negative")
    return rows.sum(axis=1)


@pytest.fixture(scope="module")
def loaded(server):
    server.deploy_model("total", 1, total, input_type="doubles")
    server.register_application("load-sums", input_type="doubles", slo_ms=5000, default_output=-1, models=["total"])
    server.register_application("load-nobody", input_type="doubles", slo_ms=500, default_output=-1)
    server.register_application("load-json", input_type="json", slo_ms=500)
    yield
    for name in ("load-sums", "load-nobody", "load-json"):
        server.unregister_application(name)
    server.delete_model("total")


def bench(run, app, *options):
    return run("bench", "load", app, "--duration", "0.25", "--rate", "200", *options)


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_query_is_counted_once_by_what_became_of_it_and_the_figures_are_printed_and_written(
    run, server, tmp_path, protocol
):
    """A model's answer, the default of one that raised, a refusal, in turn; and the server has seen as many."""
    (tmp_path / "mixed.jsonl").write_text('[1, 2]\n[-1, 2]\n"text"\n')
    before = answered_by(server)
    options = ("--inputs", "mixed.jsonl", "--arrivals", "uniform", "--json", "figures.json", *PROTOCOLS[protocol])
    done = bench(run, "load-sums", *options, *(("--plot", "picture.png") if protocol == "rest" else ()))
    assert done.returncode == 0, done.stderr
    assert f"load-sums  200 queries a second, uniform, {protocol}, " in done.stdout
    assert "goodput within 5000 ms" in done.stdout
    for title in ("P50 ms", "P90 ms", "P99 ms", "P99.9 ms", "Max ms", "Answered", "Defaults", "Errors", "Lost"):
        assert title in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    asked = figures["asked"]
    assert asked == pytest.approx(49, abs=1)
    third = {"answered": (asked + 2) // 3, "default": (asked + 1) // 3, "error": asked // 3, "lost": 0}
    assert {kind: outcome["count"] for kind, outcome in figures["outcomes"].items()} == third
    assert figures["outcomes"]["default"]["by_code"] == {"model_error": third["default"]}
    assert figures["outcomes"]["error"]["by_code"] == {"invalid_input": third["error"]}
    assert answered_by(server) - before == third["answered"] + third["default"]
    assert figures["plan"]["rate_qps"] == 200.0
    assert figures["latency_ms"]["answered"]["p50"] <= figures["latency_ms"]["answered"]["max"]
    assert figures["goodput_qps"] <= figures["answered_qps"]
    assert protocol != "rest" or (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def answered_by(server):
    (app,) = (app for app in server.get_status()["applications"] if app["name"] == "load-sums")
    return sum(app["measured"]["total"].values())


@pytest.mark.usefixtures("loaded")
def test_the_server_counts_the_queries_that_the_generator_says_it_sent(run, server, tmp_path):
    before = answered_by(server)
    bench(run, "load-sums", "--processes", "2", "--json", "figures.json")
    assert answered_by(server) - before == json.loads((tmp_path / "figures.json").read_text())["asked"] > 0


@pytest.mark.usefixtures("loaded")
def test_defaults_are_shown_by_reason(run, tmp_path):
    done = bench(run, "load-nobody", "--json", "figures.json")
    assert done.returncode == 0, done.stderr
    ((reason, count),) = json.loads((tmp_path / "figures.json").read_text())["outcomes"]["default"]["by_code"].items()
    assert f"Defaults: {reason} {count}" in done.stdout
    assert "goodput within 500 ms: 0/s (0.00% of all sent)" in done.stdout


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("protocol", ["grpc", "grpc stream"])
def test_where_one_query_at_a_time_is_allowed_the_others_wait_and_are_answered(run, tmp_path, protocol):
    done = bench(run, "load-sums", "--concurrency", "1", "--json", "figures.json", *PROTOCOLS[protocol])
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["asked"] == figures["outcomes"]["answered"]["count"] > 20


@pytest.mark.usefixtures("loaded")
def test_an_input_is_the_same_query_by_every_protocol(run, server):
    """The first run fills the cache; the others draw the same inputs and ask no model."""

    def batches():
        (model,) = (model for model in server.get_status()["models"] if model["name"] == "total")
        return model["versions"][0]["measured"]["batches"]

    asked = []
    for options in PROTOCOLS.values():
        done = bench(run, "load-sums", "--distinct", "5", "--seed", "7", *options)
        assert "Answered" in done.stdout
        asked.append(batches())
    assert asked == [asked[0]] * len(PROTOCOLS)


@pytest.mark.usefixtures("loaded")
def test_a_closed_loop_keeps_its_callers_busy(run):
    done = run("bench", "load", "load-sums", "--closed", "--concurrency", "4", "--duration", "0.3")
    assert done.returncode == 0, done.stderr
    assert "4 callers in a closed loop" in done.stdout


@pytest.mark.usefixtures("loaded")
def test_ctrl_c_shows_what_was_measured(server):
    """On a terminal, where the display is alive and Ctrl-C reaches every process of the foreground."""
    terminal, inner = pty.openpty()
    environment = os.environ | {"CLIPPER_URL": server.session.admin_url, "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-m", "clipper", "bench", "load", "load-sums", "--rate", "50", "--duration", "600"]
    process = subprocess.Popen(
        command, env=environment, stdin=inner, stdout=inner, stderr=inner, process_group=0, close_fds=True
    )
    os.close(inner)
    shown = _read_until(terminal, re.compile(rb"Sent [1-9]"))
    os.killpg(process.pid, signal.SIGINT)
    shown = _read_until(terminal, None)
    assert process.wait(20) == 0
    os.close(terminal)
    last = shown.rpartition(b"load-sums")[2].decode()
    assert "of 600 s" in last
    assert "Answered" in last


def _read_until(terminal: int, words: re.Pattern[bytes] | None) -> bytes:
    """What comes until these words, or until the other end is closed."""
    seen = b""
    while words is None or words.search(seen) is None:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            return seen
        if not more:
            return seen
        seen += more
    return seen


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["load-nothing"], 1, "load-nothing"),
        (["load-json"], 1, "give a file of inputs (--inputs FILE.jsonl)"),
        (["load-sums", "--inputs", "none.jsonl"], 1, "'none.jsonl' cannot be read: No such file or directory."),
        (["load-sums", "--arrivals", "regular"], 2, "--arrivals is one of poisson, uniform, bursty, not 'regular'."),
        (["load-sums", "--closed", "--rate", "5"], 2, "--rate is of an open loop"),
        (["load-sums", "--rate", "0"], 1, "The rate must be more than 0"),
        (["load-sums", "--stream"], 2, "--stream is of --protocol grpc, not of 'rest'."),
        (["load-sums", "--protocol", "soap"], 2, "--protocol is one of rest, oip, grpc, not 'soap'."),
        (["load-sums", "--slo-ms", "0"], 1, "The SLO must be more than 0"),
        (["load-sums", "--concurrency", "0"], 1, "The number of connections must be more than 0"),
        (["load-sums", "--json", "nowhere/x.json"], 2, "there is no directory 'nowhere'"),
        (["load-sums", "--plot", "x.txt"], 2, "ends in .png"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(run, arguments, code, sentence):
    done = run("bench", "load", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
