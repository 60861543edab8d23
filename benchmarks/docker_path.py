"""What a container costs on the path of a prediction: P50 over one connection, beside replicas that are processes.

Both servers run at once, and the same caller asks them by turns, so that whatever else the machine does meets both.
Needs a Docker engine. Run: `python benchmarks/docker_path.py`.
"""

import argparse
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from rich.console import Console
from rich.table import Table
from servers import clipper_up
from table import console, provenance, save

MANAGERS = ("process", "docker")
WIDTHS = (10, 784)
MOST_TIMES = 1.3
"""Docker's P50 is to be at most so many times the process manager's."""
BLOCK = 200
WARM_UP = 200
BLOCKS, QUICK_BLOCKS = 50, 5


class Caller:
    """One connection, one query under way, every input another one."""

    def __init__(self, query_url: str, application: str, width: int) -> None:
        address = urlsplit(query_url)
        self._sock = socket.create_connection((address.hostname, address.port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._application = application
        self._tail = ",".join(["0.5"] * (width - 1))
        self._asked = 0

    def ask(self) -> float:
        """The seconds that one answer took."""
        self._asked += 1
        body = f'{{"input":[{self._asked},{self._tail}]}}'.encode()
        head = f"POST /{self._application}/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        started_s = time.perf_counter()
        self._sock.sendall(head.encode() + body)
        reply = self._sock.recv(65536)
        taken_s = time.perf_counter() - started_s
        assert b'"default":false' in reply, reply
        return taken_s

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


def measure(blocks: int) -> Iterator[tuple[int, str, float, float]]:
    """(width, manager, P50, P99) in seconds."""
    with ExitStack() as stack:
        servers = {manager: stack.enter_context(clipper_up(manager=manager)) for manager in MANAGERS}
        for width in WIDTHS:
            name = f"noop-{width}"
            callers = {}
            for manager, server in servers.items():
                server.connection.deploy_model(name, 1, None, flavor="noop", input_type="doubles")
                server.connection.register_application(name, input_type="doubles", slo_ms=1000, models=[name])
                callers[manager] = Caller(server.query_url, name, width)
                stack.callback(callers[manager].close)
                for _ in range(WARM_UP):
                    callers[manager].ask()
            taken_s: dict[str, list[float]] = {manager: [] for manager in MANAGERS}
            for block in range(blocks):
                for manager in MANAGERS if block % 2 else reversed(MANAGERS):
                    taken_s[manager] += [callers[manager].ask() for _ in range(BLOCK)]
            for manager, sample in taken_s.items():
                yield width, manager, float(np.quantile(sample, 0.5)), float(np.quantile(sample, 0.99))


def _times(cells: list[dict[str, Any]], width: int) -> float:
    p50_ms = {cell["manager"]: cell["p50_ms"] for cell in cells if cell["width"] == width}
    return p50_ms["docker"] / p50_ms["process"]


def show(out: Console, results: Mapping[str, Any]) -> None:
    """The table."""
    out.print(f"{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    table = Table("doubles", "manager", "P50 ms", "P99 ms", "times the process manager's")
    for cell in results["cells"]:
        times = f"{_times(results['cells'], cell['width']):.2f}" if cell["manager"] == "docker" else ""
        table.add_row(str(cell["width"]), cell["manager"], f"{cell['p50_ms']:.3f}", f"{cell['p99_ms']:.3f}", times)
    out.print(table)
    out.print(f"{results['queries']:,} queries each, one after the other, by turns. Allowed: {MOST_TIMES} x.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look, not a figure")
    blocks = QUICK_BLOCKS if parser.parse_args().quick else BLOCKS
    cells = [
        {"width": width, "manager": manager, "p50_ms": p50_s * 1e3, "p99_ms": p99_s * 1e3}
        for width, manager, p50_s, p99_s in measure(blocks)
    ]
    ratios = {width: _times(cells, width) for width in WIDTHS}
    results = {**provenance(), "queries": blocks * BLOCK, "cells": cells, "ratios": ratios}
    out = console()
    show(out, results)
    out.print(f"Written to {save('docker-path-quick' if blocks == QUICK_BLOCKS else 'docker-path', results)}")
    return 0 if max(ratios.values()) <= MOST_TIMES else 1


if __name__ == "__main__":
    sys.exit(main())
