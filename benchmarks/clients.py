"""What a query costs by each road of the Python client: processor time of the client and of the server.

``python benchmarks/clients.py [--rounds 3] [--queries 1500]``. A model that does nothing, distinct inputs, as many
tasks as there are callers; by turns, in one run. The first road, a list of numbers by httpx, is what a program does
that has no client of ours; the others are held against it.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

sys.path.append(sys.path.pop(0))  # this folder has a grpc of its own: a benchmark

import httpx
import numpy as np
import psutil
import servers
import table
import uvloop

import clipper

WIDTHS = (10, 784)
CALLERS = 16
BATCH = 64
Array = np.ndarray[Any, Any]
Road = Callable[[Array], Awaitable[None]]
"""Asks about every row of a matrix."""


async def each(rows: Array, ask: Callable[[Any], Awaitable[Any]]) -> None:
    """A query for each row, `CALLERS` at a time."""
    left = iter(rows)

    async def caller() -> None:
        for row in left:
            await ask(row)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


def roads(up: servers.Up, app: str, by: Mapping[str, Any]) -> dict[str, Road]:
    """The roads by name; ``by`` has a connection of each kind."""
    url = f"{up.query_url}/{app}/predict"
    rest, text, grpc = by["rest"], by["text"], by["grpc"]

    async def post(row: Array) -> None:
        (await by["httpx"].post(url, json={"input": row.tolist()})).raise_for_status().json()

    async def batches(rows: Array) -> None:
        for start in range(0, len(rows), BATCH):
            await rest.predict_batch(app, rows[start : start + BATCH])

    async def stream(rows: Array) -> None:
        async for _ in grpc.predict_stream(app, rows):
            pass

    return {
        "httpx, a list": lambda rows: each(rows, post),
        "predict, JSON": lambda rows: each(rows, lambda row: text.predict(app, row)),
        "predict, an array": lambda rows: each(rows, lambda row: rest.predict(app, row)),
        f"predict_batch of {BATCH}": batches,
        "gRPC: predict, an array": lambda rows: each(rows, lambda row: grpc.predict(app, row)),
        "gRPC: predict_stream": stream,
    }


async def measure(up: servers.Up, rounds: int, queries: int) -> dict[int, dict[str, list[tuple[float, float]]]]:
    """By width and road, microseconds of client and server for each query, of every round."""
    server = psutil.Process(up.pid)
    drawn = np.random.default_rng(0)
    admin = up.connection.session.admin_url
    figures: dict[int, dict[str, list[tuple[float, float]]]] = {width: {} for width in WIDTHS}
    async with (
        httpx.AsyncClient(timeout=30) as plain,
        clipper.connect_async(admin) as rest,
        clipper.connect_async(admin) as text,
        clipper.connect_async(admin, protocol="grpc") as grpc,
    ):
        text.session.takes_arrays = False
        by = {"httpx": plain, "rest": rest, "text": text, "grpc": grpc}
        for width in WIDTHS:
            app = f"bench-{width}"
            up.connection.register_application(app, input_type="doubles", slo_ms=5000, models=["noop"])
            for turn in range(rounds + 1):
                for name, road in roads(up, app, by).items():
                    rows = drawn.random((queries, width))
                    client_s, server_s = time.process_time(), sum(server.cpu_times()[:2])
                    await road(rows)
                    spent = (time.process_time() - client_s, sum(server.cpu_times()[:2]) - server_s)
                    if turn:  # the first one warms up
                        us = (spent[0] / queries * 1e6, spent[1] / queries * 1e6)
                        figures[width].setdefault(name, []).append(us)
    return figures


def main() -> None:
    """Measure, show, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=1500)
    arguments = parser.parse_args()
    with servers.clipper_up() as up:
        up.connection.deploy_model("noop", 1, None, input_type="doubles", flavor="noop")
        figures = uvloop.run(measure(up, arguments.rounds, arguments.queries))
    out = table.console()
    results = []
    for width, by_road in figures.items():
        rows = []
        first_us = 0.0
        for name, rounds in by_road.items():
            client_us, server_us = (statistics.median(values) for values in zip(*rounds, strict=True))
            first_us = first_us or client_us + server_us
            ratio = first_us / (client_us + server_us)
            rows.append([name, f"{client_us:.0f}", f"{server_us:.0f}", f"{ratio:.1f}"])
            results.append(
                {"width": width, "road": name, "client_us": client_us, "server_us": server_us, "ratio": ratio}
            )
        columns = ("", "client us", "server us", "queries for the same time")
        out.print(table.grid(f"Processor time of a query of {width} doubles", columns, rows))
    table.save("clients", {"provenance": table.provenance(), "results": results})


if __name__ == "__main__":
    main()
