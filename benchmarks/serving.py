"""Throughput and latency over HTTP: the bare server, Clipper and Mosec with the same no-op model, driven by `wrk`.

Every round starts each server, measures every cell and stops it again, so that a drift of the machine hits all alike.
The table has the median of the rounds. Run: `make bench`, or `python benchmarks/serving.py --quick`.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import servers
from process_cpu import tree_cpu_s
from rich.console import Console
from servers import Running
from table import console, grid, provenance, save
from wrk import Load, Measured, drive, require_wrk

LOADS = [
    Load(inputs, connections, bodies)
    for inputs in (10, 784)
    for connections in (64, 1)
    for bodies in ("distinct", "repeated")
]
GENERATOR_IS_FULL = 0.95
"""Share of its one thread from which the generator, not the server, may be what is measured."""


class Sample(NamedTuple):
    """One run of one cell. ``server_cpu_us`` is of the server's whole process tree, a query."""

    measured: Measured
    server_cpu_us: float
    not_answered: float


Cells = dict[tuple[str, Load], list[Sample]]


def main() -> None:
    arguments = _arguments()
    require_wrk()
    out = console()
    cells: Cells = defaultdict(list)
    settings: dict[str, str] = {}
    for round_number in range(1, arguments.rounds + 1):
        for name in arguments.servers:
            out.print(f"[dim]round {round_number} of {arguments.rounds}: {name}[/dim]")
            with servers.SERVERS[name]() as server:
                settings[name] = server.settings
                _measure(server, arguments.seconds, cells)
    results = {**provenance(), "rounds": arguments.rounds, "seconds": arguments.seconds, "settings": settings}
    results["cells"] = [_as_json(name, load, samples) for (name, load), samples in cells.items()]
    _print(out, results, cells)
    out.print(f"Written to {save('serving-quick' if arguments.quick else 'serving', results)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of one second a cell: a look, not a figure")
    parser.add_argument("--rounds", type=int, help="how often every server is started and measured (default 3)")
    parser.add_argument("--seconds", type=float, help="of one run of one cell (default 5)")
    parser.add_argument("--servers", nargs="+", choices=servers.SERVERS, default=list(servers.SERVERS))
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.seconds = arguments.seconds or (1 if arguments.quick else 5)
    return arguments


def _measure(server: Running, seconds: float, cells: Cells) -> None:
    """Every cell once, after a warm-up that no figure contains."""
    for inputs in sorted({load.inputs for load in LOADS}):
        drive(server.query_url, Load(inputs, 64, "distinct"), min(2.0, seconds))
    for load in LOADS:
        refused_before = servers.not_answered(server)
        cpu_before_s = tree_cpu_s(server.pid)
        measured = drive(server.query_url, load, seconds)
        cpu_s = tree_cpu_s(server.pid) - cpu_before_s
        refused = sum(servers.not_answered(server).values()) - sum(refused_before.values())
        cells[server.name, load].append(Sample(measured, cpu_s / max(1, measured.queries) * 1e6, refused))


def _as_json(name: str, load: Load, samples: Sequence[Sample]) -> dict[str, Any]:
    runs = [
        {**s.measured._asdict(), "server_cpu_us": s.server_cpu_us, "defaults_and_refusals": s.not_answered}
        for s in samples
    ]
    medians = {key: median(run[key] for run in runs) for key in ("qps", "p50_ms", "p99_ms", "server_cpu_us")}
    return {"server": name, **load._asdict(), "median": medians, "runs": runs}


def _print(out: Console, results: Mapping[str, Any], cells: Cells) -> None:
    out.print(f"\n{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    for name, text in results["settings"].items():
        out.print(f"[bold]{name}[/bold]: {text}")
    out.print(
        f"Median of {results['rounds']} runs of {results['seconds']:g} s; generator and server share the machine.\n"
    )
    medians = {(cell["server"], *(cell[field] for field in Load._fields)): cell["median"] for cell in results["cells"]}
    columns = (
        "server",
        "qps",
        "of bare",
        "of mosec",
        "P50 ms",
        "P99 ms",
        "CPU us/query",
        "generator",
        "errors",
        "defaults",
    )
    for load in LOADS:
        rows = [
            _row(name, medians[name, *load], medians.get(("bare", *load)), medians.get(("mosec", *load)), samples)
            for (name, measured_load), samples in cells.items()
            if measured_load == load
        ]
        plural = "connection" if load.connections == 1 else "connections"
        title = f"{load.inputs} doubles, {load.connections} {plural}, {load.bodies} bodies"
        out.print(grid(title, columns, rows))
    out.print(
        "CPU: the server's whole process tree. generator: what wrk used of its one thread; ! where that is all of it."
    )


def _row(
    name: str,
    mine: Mapping[str, float],
    bare: Mapping[str, float] | None,
    mosec: Mapping[str, float] | None,
    samples: Sequence[Sample],
) -> list[str]:
    busy = median(s.measured.generator_cpu_us * s.measured.qps / 1e6 for s in samples)
    return [
        name,
        f"{mine['qps']:,.0f}",
        _ratio(mine, bare),
        _ratio(mine, mosec),
        f"{mine['p50_ms']:.2f}",
        f"{mine['p99_ms']:.2f}",
        f"{mine['server_cpu_us']:.1f}",
        f"{busy:.0%}" + ("!" if busy > GENERATOR_IS_FULL else ""),
        f"{sum(s.measured.errors for s in samples)}",
        f"{sum(s.not_answered for s in samples):.0f}",
    ]


def _ratio(mine: Mapping[str, float], other: Mapping[str, float] | None) -> str:
    return "-" if other is None else f"{mine['qps'] / other['qps']:.2f}"


if __name__ == "__main__":
    main()
