"""``clipper bench load`` against a real server."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def loaded(server):
    server.deploy_model("total", 1, lambda rows: rows.sum(axis=1), input_type="doubles")
    server.register_application("load-sums", input_type="doubles", slo_ms=500, default_output=-1, models=["total"])
    server.register_application("load-nobody", input_type="doubles", slo_ms=500, default_output=-1)
    server.register_application("load-json", input_type="json", slo_ms=500)
    yield
    for name in ("load-sums", "load-nobody", "load-json"):
        server.unregister_application(name)
    server.delete_model("total")


def bench(run, app, *options):
    return run("bench", "load", app, "--duration", "0.5", "--rate", "100", *options)


@pytest.mark.usefixtures("loaded")
def test_every_query_is_answered_and_the_figures_are_printed_and_written(run, tmp_path):
    done = bench(run, "load-sums", "--arrivals", "uniform", "--json", "figures.json", "--plot", "picture.png")
    assert done.returncode == 0, done.stderr
    assert "load-sums  100 queries a second, uniform, rest, 0.5 of 0.5 s" in done.stdout
    assert "goodput within 500 ms" in done.stdout
    for title in ("P50 ms", "P90 ms", "P99 ms", "P99.9 ms", "Max ms", "Answered", "Defaults", "Errors", "Lost"):
        assert title in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["plan"]["rate_qps"] == 100.0
    assert figures["asked"] == figures["outcomes"]["answered"]["count"] == pytest.approx(49, abs=1)
    assert figures["latency_ms"]["answered"]["p50"] <= figures["latency_ms"]["answered"]["max"]
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("loaded")
def test_the_server_counts_the_queries_that_the_generator_says_it_sent(run, server, tmp_path):
    def queries():
        (app,) = (app for app in server.get_status()["applications"] if app["name"] == "load-sums")
        return sum(app["measured"]["total"].values())

    before = queries()
    bench(run, "load-sums", "--processes", "2", "--json", "figures.json")
    assert queries() - before == json.loads((tmp_path / "figures.json").read_text())["asked"] > 0


@pytest.mark.usefixtures("loaded")
def test_defaults_are_shown_by_reason(run, tmp_path):
    done = bench(run, "load-nobody", "--json", "figures.json")
    assert done.returncode == 0, done.stderr
    ((reason, count),) = json.loads((tmp_path / "figures.json").read_text())["outcomes"]["default"]["by_code"].items()
    assert f"Defaults: {reason} {count}" in done.stdout
    assert "goodput within 500 ms: 0/s (0.00% of all sent)" in done.stdout


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("options", [["--arrivals", "uniform"], ["--concurrency", "1"]], ids=["many calls", "one call"])
def test_by_grpc_every_query_is_answered_as_well(run, tmp_path, options):
    done = bench(run, "load-sums", "--protocol", "grpc", "--json", "figures.json", *options)
    assert done.returncode == 0, done.stderr
    assert ", grpc, 0.5 of 0.5 s" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["asked"] == figures["outcomes"]["answered"]["count"] > 20


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("protocol", ["rest", "oip", "grpc"])
def test_by_every_protocol_an_error_has_the_same_code(run, tmp_path, protocol):
    (tmp_path / "wrong.jsonl").write_text('"text"\n')
    bench(run, "load-sums", "--protocol", protocol, "--inputs", "wrong.jsonl", "--json", "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["outcomes"]["error"]["by_code"] == {"invalid_input": figures["asked"]}


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
    shown = _read_until(terminal, b"Sent 2")
    os.killpg(process.pid, signal.SIGINT)
    shown = _read_until(terminal, None)
    assert process.wait(20) == 0
    os.close(terminal)
    last = shown.rpartition(b"load-sums")[2].decode()
    assert "of 600 s" in last
    assert "Answered" in last


def _read_until(terminal: int, words: bytes | None) -> bytes:
    """What comes until these words, or until the other end is closed."""
    seen = b""
    while words is None or words not in seen:
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
