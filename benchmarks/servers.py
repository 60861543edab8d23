"""The servers that the benchmark compares: how each is started, with which settings, and what it counts itself."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx

if TYPE_CHECKING:
    import clipper

HERE = Path(__file__).parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0

OURS_SLO_MS = 100.0
MOSEC_SETTINGS = {"workers": 1, "max_batch_size": 64, "max_wait_ms": 2}
"""One worker because the machine has two cores. Everything else is Mosec's default (its stdlib JSON too)."""

MLSERVER_SETTINGS = {"max_batch_size": 64, "max_batch_time": 0.002}
"""Adaptive batching is off unless these are given. The model runs in the server's own process: its worker processes do
not start beside the newest uvloop, and cost it more than this model does."""


class Running(NamedTuple):
    """A server that answers queries at ``query_url``. ``metrics_url`` is where it counts, if it does."""

    name: str
    settings: str
    pid: int
    query_url: str
    metrics_url: str | None


@contextmanager
def bare() -> Iterator[Running]:
    """Parses and replies, without any model."""
    with _process([sys.executable, str(HERE / "bare_server.py")]) as process:
        url = _first_line(process)["query"]
        yield Running("bare", "asyncio + uvloop + httptools + simdjson, no model", process.pid, url + "/predict", None)


@contextmanager
def mosec() -> Iterator[Running]:
    """Mosec's dynamic batching before the no-op model."""
    port = _free_port()
    environment = {
        **os.environ,
        **{f"BENCH_MOSEC_{name.upper()}": str(value) for name, value in MOSEC_SETTINGS.items()},
        "MOSEC_ADDRESS": "127.0.0.1",
        "MOSEC_PORT": str(port),
        "MOSEC_LOG_LEVEL": "warning",
    }
    with _process([sys.executable, str(HERE / "mosec_server.py")], environment) as process:
        url = f"http://127.0.0.1:{port}/inference"
        _wait_until_it_answers(url, process)
        settings = ", ".join(f"{name}={value}" for name, value in MOSEC_SETTINGS.items())
        yield Running("mosec", settings, process.pid, url, None)


@contextmanager
def mlserver(executable: str) -> Iterator[str]:
    """MLServer with the no-op model ``noop`` and adaptive batching; yields the address of its REST port."""
    ports = {name: _free_port() for name in ("http_port", "grpc_port", "metrics_port")}
    model = {"name": "noop", "implementation": "mlserver_noop.Noop", **MLSERVER_SETTINGS}
    with tempfile.TemporaryDirectory(prefix="mlserver-bench-") as folder:
        (Path(folder) / "settings.json").write_text(
            json.dumps({"host": "127.0.0.1", "debug": False, "parallel_workers": 0, **ports})
        )
        (Path(folder) / "model-settings.json").write_text(json.dumps(model))
        shutil.copy(HERE / "mlserver_noop.py", folder)
        environment = {**os.environ, "PYTHONPATH": folder}
        with _process([executable, "start", folder], environment, stdout=subprocess.DEVNULL) as process:
            url = f"http://127.0.0.1:{ports['http_port']}"
            one = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}
            _wait_until_it_answers(f"{url}/v2/models/noop/infer", process, {"inputs": [one]})
            yield url


class Up(NamedTuple):
    """A `clipper up` with its addresses, and a connection to deploy by."""

    pid: int
    query_url: str
    connection: "clipper.Connection"


@contextmanager
def clipper_up(**settings: str) -> Iterator[Up]:
    """`clipper up` with an empty data directory and any free ports; settings as ``CLIPPER_*`` has them, lower case."""
    import clipper  # noqa: PLC0415  # the other servers are compared without loading it

    environment = {**os.environ, **{f"CLIPPER_{name.upper()}": value for name, value in settings.items()}}
    with tempfile.TemporaryDirectory(prefix="clipper-bench-") as data_dir:
        ports = [f"--{name}-port=0" for name in ("query", "admin", "grpc")]
        command = [str(Path(sys.executable).with_name("clipper")), "up", "--data-dir", data_dir, *ports]
        with _process(command, environment) as process:
            addresses = _first_line(process)
            with clipper.connect(addresses["admin"]) as connection:
                yield Up(process.pid, addresses["query"], connection)


@contextmanager
def ours() -> Iterator[Running]:
    """`clipper up` with the no-op model deployed and one application, everything else as it comes."""
    with clipper_up() as up:
        up.connection.deploy_model("noop", 1, None, input_type="doubles", flavor="noop")
        up.connection.register_application("bench", input_type="doubles", slo_ms=OURS_SLO_MS, models=["noop"])
        yield Running(
            "clipper",
            f"clipper up, 1 replica, slo_ms={OURS_SLO_MS:g}, no default output",
            up.pid,
            up.query_url + "/bench/predict",
            up.query_url + "/metrics",
        )


SERVERS = {"bare": bare, "clipper": ours, "mosec": mosec}


def not_answered(server: Running) -> Mapping[str, float]:
    """Queries that the server itself counts as anything but answered by the model, by outcome and cause."""
    if server.metrics_url is None:
        return {}
    text = httpx.get(server.metrics_url).raise_for_status().text
    counted = re.findall(r'^clipper_queries_total\{([^}]*outcome="(\w+)"[^}]*)\} ([0-9.e+]+)$', text, re.MULTILINE)
    if "clipper_queries" not in text:
        sys.exit(f"{server.metrics_url} has no clipper_queries_total: the benchmark cannot count defaults.")
    return {labels: float(value) for labels, outcome, value in counted if outcome not in {"answered", "cancelled"}}


@contextmanager
def _process(
    command: list[str], environment: Mapping[str, str] | None = None, *, stdout: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """A server process, terminated at the end; standard error is kept and shown only if it fails."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=stdout, stderr=log, text=True)
        try:
            yield process
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:])
            raise
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _first_line(process: subprocess.Popen[str]) -> dict[str, str]:
    """The line of JSON that a server prints when it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with {process.wait()} before it was ready.")
    parsed: dict[str, str] = json.loads(line)
    return parsed


def _wait_until_it_answers(url: str, process: subprocess.Popen[str], body: object = None) -> None:
    """Not every server says when it is ready: ask until it answers."""
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_s:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode} before it was ready.")
        try:
            if httpx.post(url, json=body or {"input": [1.0]}).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer within {START_TIMEOUT_S:g} s.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
