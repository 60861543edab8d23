"""What choosing costs: no-op models behind `single`, `exp3` and `exp4`, over HTTP, beside each other.

One server has all applications; `wrk` drives them in turns, so that a drift of the machine hits all alike. Feedback
comes in between, so that the policies that learn have weights, and the query ids that feedback needs are made for every
answer. Run: `python benchmarks/selection_cost.py [--quick]`.
"""

import argparse
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import httpx
from picture import panels, save_picture
from process_cpu import tree_cpu_s
from rich.console import Console
from servers import OURS_SLO_MS, Up, clipper_up
from table import console, grid, provenance, save
from wrk import Load, drive, require_wrk

LOADS = (Load(10, 64, "distinct"), Load(784, 64, "distinct"), Load(10, 64, "repeated"), Load(10, 1, "distinct"))
NOOPS = ("noop-a", "noop-b", "noop-c", "noop-d")
FEEDBACKS = 200


class Case(NamedTuple):
    """An application: its policy, and over how many models. ``at_least`` is its share of the first one's rate."""

    name: str
    policy: str
    models: int
    at_least: float | None = None


CASES = (
    Case("single", "single", 1),
    Case("exp3-of-1", "exp3", 1),
    Case("exp3-of-2", "exp3", 2, 0.8),
    Case("exp3-of-4", "exp3", 4),
    Case("exp4-of-4", "exp4", 4, 0.3),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of one second a cell: a look, not a figure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    chosen = parser.parse_args()
    quick = chosen.quick
    rounds, seconds = (1, 1.0) if quick else (chosen.rounds, chosen.seconds)
    require_wrk()
    out = console()
    with clipper_up() as up:
        _deploy(up)
        cells = _measure(out, up, rounds, seconds)
    results = {**provenance(), "rounds": rounds, "seconds": seconds, "slo_ms": OURS_SLO_MS, "cells": cells}
    name = "selection-cost-quick" if quick else "selection-cost"
    show(out, results)
    out.print(f"Written to {save(name, results)} and {_draw(name, results)}")


def _deploy(up: Up) -> None:
    for model in NOOPS:
        up.connection.deploy_model(model, 1, None, input_type="doubles", flavor="noop")
    for case in CASES:
        up.connection.register_application(
            case.name, input_type="doubles", slo_ms=OURS_SLO_MS, policy=case.policy, models=NOOPS[: case.models]
        )


def _measure(out: Console, up: Up, rounds: int, seconds: float) -> list[dict[str, Any]]:
    runs: dict[tuple[Case, Load], list[dict[str, float]]] = {(case, load): [] for case in CASES for load in LOADS}
    for case in CASES:
        _teach(up, case)
        drive(_url(up, case), LOADS[0], min(2.0, seconds))
    for number in range(1, rounds + 1):
        out.print(f"[dim]round {number} of {rounds}[/dim]")
        for load in LOADS:
            for case in CASES:
                runs[case, load].append(_one_run(up, case, load, seconds))
    return [
        {
            **case._asdict(),
            **load._asdict(),
            "median": {key: median(run[key] for run in those) for key in those[0]},
            "runs": those,
        }
        for (case, load), those in runs.items()
    ]


def _teach(up: Up, case: Case) -> None:
    """Some feedback; the policy `single` takes none."""
    if case.policy == "single":
        return
    for number in range(FEEDBACKS):
        prediction = up.connection.predict(case.name, [float(number)] * 10)
        up.connection.update(case.name, query_id=prediction.query_id, label=prediction.output)


def _one_run(up: Up, case: Case, load: Load, seconds: float) -> dict[str, float]:
    cpu_before_s, refused_before = tree_cpu_s(up.pid), _not_answered(up)
    measured = drive(_url(up, case), load, seconds)
    cpu_s = tree_cpu_s(up.pid) - cpu_before_s
    return {
        "qps": measured.qps,
        "p50_ms": measured.p50_ms,
        "p99_ms": measured.p99_ms,
        "server_cpu_us": cpu_s / max(1, measured.queries) * 1e6,
        "not_answered": _not_answered(up) - refused_before + measured.errors,
    }


def _url(up: Up, case: Case) -> str:
    return f"{up.query_url}/{case.name}/predict"


def _not_answered(up: Up) -> float:
    lines = httpx.get(f"{up.query_url}/metrics").raise_for_status().text.splitlines()
    bad = ('outcome="default"', 'outcome="error"')
    counted = [line for line in lines if line.startswith("clipper_queries_total{") and any(it in line for it in bad)]
    return sum(float(line.rpartition(" ")[2]) for line in counted)


WHERE_IT_GOES = """\
exp3 over one model shows what choosing costs: some 4 us a query for the draw, the authenticated query id (1.2 us) and
the longer reply. Over several models the rest is that the same 64 queries under way make as many more batches, in as
many more processes: a batch costs the frontend some 50 us whatever is in it. With wider inputs, or a model that
computes something, that is lost in the rest."""


def show(out: Console, results: Mapping[str, Any]) -> None:
    out.print(f"\n{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    out.print(
        f"Median of {results['rounds']} runs of {results['seconds']:g} s; wrk and all replicas share the machine.\n"
    )
    columns = ("application", "qps", "of single", "at least", "P50 ms", "P99 ms", "CPU us/query", "not answered")
    for load in LOADS:
        cells = _cells_of(results, load)
        single = cells[0]["median"]["qps"]
        rows = [
            [
                cell["name"],
                f"{cell['median']['qps']:,.0f}",
                f"{cell['median']['qps'] / single:.2f}",
                f"{cell['at_least']}" if cell["at_least"] is not None and load == LOADS[0] else "",
                f"{cell['median']['p50_ms']:.2f}",
                f"{cell['median']['p99_ms']:.2f}",
                f"{cell['median']['server_cpu_us']:.1f}",
                f"{sum(run['not_answered'] for run in cell['runs']):.0f}",
            ]
            for cell in cells
        ]
        out.print(grid(_title(load), columns, rows))
    out.print(WHERE_IT_GOES)


def _cells_of(results: Mapping[str, Any], load: Load) -> Sequence[Mapping[str, Any]]:
    return [cell for cell in results["cells"] if all(cell[key] == value for key, value in load._asdict().items())]


def _title(load: Load) -> str:
    plural = "connection" if load.connections == 1 else "connections"
    return f"{load.inputs} doubles, {load.connections} {plural}, {load.bodies} bodies"


def _draw(name: str, results: Mapping[str, Any]) -> str:
    figure, axes = panels(len(LOADS))
    for load, one in zip(LOADS, axes, strict=True):
        cells = _cells_of(results, load)
        single = cells[0]["median"]["qps"]
        one.barh([cell["name"] for cell in cells][::-1], [cell["median"]["qps"] / single for cell in cells][::-1])
        one.set(xlabel=f"queries a second, of single's {single:,.0f}", title=_title(load))
    return str(save_picture(name, figure))


if __name__ == "__main__":
    main()
