"""Drives a server with `wrk` and reads what it measured."""

import json
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import NamedTuple

BODIES = Path(__file__).with_name("bodies.lua")
LINES = Path(__file__).with_name("lines.lua")
TENSORS = Path(__file__).with_name("tensors.lua")
MAX_SECONDS_BEYOND_DURATION = 30

_run_numbers = count(1)


class Load(NamedTuple):
    """One cell of the benchmark: what is sent, over how many connections."""

    inputs: int
    connections: int
    bodies: str  # "distinct" | "repeated"


class Measured(NamedTuple):
    """What `wrk` saw in one run. ``generator_cpu_us`` is wrk's own CPU time a query."""

    queries: int
    qps: float
    p50_ms: float
    p99_ms: float
    errors: int
    generator_cpu_us: float


def require_wrk() -> None:
    """Exit with a sentence unless `wrk` is installed."""
    if shutil.which("wrk") is None:
        sys.exit(
            "This benchmark drives the servers with 'wrk', which is not installed. "
            "On Debian and Ubuntu: apt-get install wrk. Elsewhere: https://github.com/wg/wrk."
        )


def drive(url: str, load: Load, duration_s: float) -> Measured:
    """One run of one `wrk` thread against ``url``. Distinct bodies differ from those of every other run too."""
    arguments = [str(load.inputs), load.bodies, str(next(_run_numbers))]
    return _run(url, BODIES, arguments, load.connections, duration_s)


def drive_lines(url: str, lines: Path, connections: int, duration_s: float) -> Measured:
    """One run with the lines of a file as bodies, one after the other; the last line is followed by the first."""
    return _run(url, LINES, [str(lines)], connections, duration_s)


def drive_tensors(url: str, inputs: int, form: str, connections: int, duration_s: float) -> Measured:
    """One run of requests with one FP32 tensor each, in the form "json" or "binary"; each differs from all others."""
    return _run(url, TENSORS, [str(inputs), form, str(next(_run_numbers))], connections, duration_s)


def _run(url: str, script: Path, arguments: list[str], connections: int, duration_s: float) -> Measured:
    command = [
        "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(duration_s))}s",
        "--timeout", "10s", "--script", str(script), url, "--", *arguments,
    ]  # fmt: skip
    before_s = _children_cpu_s()
    finished = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=duration_s + MAX_SECONDS_BEYOND_DURATION
    )
    cpu_s = _children_cpu_s() - before_s
    results = [line for line in finished.stdout.splitlines() if line.startswith("RESULT ")]
    if finished.returncode != 0 or not results:
        sys.exit(f"wrk failed against {url}:\n{finished.stdout}{finished.stderr}")
    raw = json.loads(results[0].removeprefix("RESULT "))
    queries = raw["requests"]
    return Measured(
        queries=queries,
        qps=queries / (raw["duration_us"] / 1e6),
        p50_ms=raw["p50_us"] / 1e3,
        p99_ms=raw["p99_us"] / 1e3,
        errors=raw["socket_errors"] + raw["timeouts"] + raw["non_2xx"],
        generator_cpu_us=cpu_s / max(1, queries) * 1e6,
    )


def _children_cpu_s() -> float:
    """CPU seconds of the children that this process has waited for; the servers still run, so only wrk adds to it."""
    times = os.times()
    return times.children_user + times.children_system
