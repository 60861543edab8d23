"""The real ``clipper up`` as a process, callers that keep asking it, and what they were told."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

import clipper

WAIT_S = 30.0


def until(condition, what="", *, timeout_s=WAIT_S):
    """Poll until ``condition()`` is true and return what it was."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what or condition}"
        time.sleep(0.01)
    return found


class ServerProcess:
    """One server on a data directory; it is ready when this returns."""

    def __init__(self, data_dir: Path, **environment: str):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLIPPER_")}
        ports = ("--query-port", "0", "--admin-port", "0", "--grpc-port", "0")
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-m", "clipper", "up", "--data-dir", str(data_dir), *ports],
            env=kept | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        addresses = json.loads(self.process.stdout.readline())
        self.query, self.admin = addresses["query"], addresses["admin"]
        self.cl = clipper.connect(self.admin)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        self.cl.close()
        code = self.process.wait(WAIT_S)
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        """As the kernel would, and again if need be."""
        self.signal(signal.SIGKILL)
        self.wait()

    def replicas(self, model: str) -> dict[str, dict[str, Any]]:
        """By id, those that are ready."""
        return {
            replica["replica_id"]: replica
            for replica in self.cl.get_all_model_replicas()
            if replica["model"] == model and replica["state"] == "ready"
        }

    def processes(self) -> dict[str, list[int]]:
        """The pids of this data directory's replicas, by replica id: several under one would be doubles."""
        return replica_processes(self.data_dir)


def replica_processes(data_dir: Path) -> dict[str, list[int]]:
    """See `ServerProcess.processes`; also without a server."""
    found: dict[str, list[int]] = {}
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if "clipper_container" in line and any(part.startswith(f"{data_dir}/") for part in line):
            found.setdefault(line[line.index("--replica") + 1], []).append(process.pid)
    return found


class Callers:
    """Callers that each ask the next query as soon as they have an answer; every input is another one.

    ``answers`` has (input, status, body). ``unanswered`` counts the requests that were sent and got nothing, by the
    error that the caller saw; a connection that was refused, or that the server said it would close, is none of them.
    """

    def __init__(self, query_url: str, app: str, *, count: int = 8):
        self.answers: list[tuple[float, int, dict[str, Any]]] = []
        self.unanswered: Counter[str] = Counter()
        self._url = f"{query_url}/{app}/predict"
        self._address = urlsplit(query_url)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(float(i), count)) for i in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT_S)

    def go_on(self, further: int = 100) -> None:
        """Wait until so many more were answered."""
        wanted = len(self.answers) + further
        until(lambda: len(self.answers) >= wanted, f"{further} more answers")

    def answered_again(self) -> None:
        """Wait until one more got an output."""
        already = len(self.answers)
        until(lambda: any(status == 200 for _, status, _ in self.answers[already:]), "an answer with an output")

    def outcomes(self) -> Counter[tuple[int, str | None]]:
        """How many answers there were of each status and code."""
        return Counter((status, body.get("code")) for _, status, body in self.answers)

    def _ask(self, x: float, step: int) -> None:
        with httpx.Client(timeout=WAIT_S) as client:
            while not self._over.is_set():
                x += step
                try:
                    reply = client.post(self._url, json={"input": [x]})
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    self.unanswered[f"{type(error).__name__}: {error}"] += 1
                    return
                self.answers.append((x, reply.status_code, reply.json()))
