"""Failure recovery: what the policies make of five models, the best of which is corrupted and heals (NSDI'17, fig. 8).

Accuracies .7575 .654 .832 .54 .9085; the answers of the best model are wrong labels for queries 5,000-10,000 of 20,000.
It runs the served selection code in this process: the outcome does not depend on the machine, and is the same each
time. Drawn are the paper's parameters as they are, and this project's defaults, with feedback at once and 200 queries
late. Run: `python benchmarks/recovery.py [--quick]`; the picture needs the extra ``plot``.
"""

import argparse
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from failing_model import ACCURACIES, ARMS, BEST_ERROR, CORRUPTED_FROM, HEALED_FROM, QUERIES, Errors, make_trial, serve
from matplotlib.figure import Figure
from rich.console import Console
from table import RESULTS, console, grid, provenance, save

from clipper.selection import policy_named

TRIALS, QUICK_TRIALS = 50, 4
WINDOW = 250
TOLERANCE = 0.02
MAX_RECOVERY = 2_000
CURVE_STEP = 50
SIZE_INCHES, DPI = (10.0, 7.0), 120
PAPER_EXP3 = {"eta": 0.05, "exploration": 0, "half_life_feedbacks": None}
PAPER_EXP4 = {"eta": 0.2, "half_life_feedbacks": None}


class Line(NamedTuple):
    """One line of the picture: a policy with its options, how late feedback comes, and how it is drawn."""

    name: str
    policy: str
    options: Mapping[str, Any]
    late_by: int
    style: str


LINES = (
    Line("exp3, the paper's", "exp3", PAPER_EXP3, 0, "C0:"),
    Line("exp4, the paper's", "exp4", PAPER_EXP4, 0, "C1:"),
    Line("exp3", "exp3", {}, 0, "C0-"),
    Line("exp4", "exp4", {}, 0, "C1-"),
    Line("exp3, 200 late", "exp3", {}, 200, "C0--"),
    Line("exp4, 200 late", "exp4", {}, 200, "C1--"),
    Line("epsilon_greedy", "epsilon_greedy", {}, 0, "C2-"),
    Line("ucb1", "ucb1", {}, 0, "C3-"),
    Line("thompson", "thompson", {}, 0, "C4-"),
)
DEFAULTS = ("exp3", "exp4", "exp3, 200 late", "exp4, 200 late")
DRAWN = (*DEFAULTS, "exp3, the paper's", "exp4, the paper's")


def main() -> None:
    arguments = _arguments()
    out = console()
    errors = _run(arguments.trials)
    results = {**provenance(), "trials": arguments.trials, "policies": {n: _summary(e) for n, e in errors.items()}}
    results["best_static_error"] = min(results["policies"][name]["error"] for name in ARMS)
    results["holds"] = {name: _holds(results, name) for name in DEFAULTS}
    name = "recovery-quick" if arguments.quick else "recovery"
    show(out, results)
    picture = RESULTS / f"{name}.png"
    _draw(errors, picture)
    out.print(f"Written to {save(name, results)} and {picture}")


def show(out: Console, results: Mapping[str, Any]) -> None:
    out.print(f"\n{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    out.print(_table(results))
    for policy, holds in results["holds"].items():
        out.print(f"{policy}: {'beats every static model and recovers in time' if holds else '[red]does not[/red]'}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TRIALS} trials: a look, not a figure")
    parser.add_argument("--trials", type=int, help=f"(default {TRIALS})")
    arguments = parser.parse_args()
    arguments.trials = arguments.trials or (QUICK_TRIALS if arguments.quick else TRIALS)
    return arguments


def _run(trials: int) -> dict[str, Errors]:
    """By name, (trial, query): 1 where the answer was wrong; of each model alone, too."""
    errors: dict[str, Errors] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        alone = np.stack([make_trial(seed).wrong for seed in range(trials)])
        errors |= {arm: alone[:, :, index] for index, arm in enumerate(ARMS)}
        for line in LINES:
            errors[line.name] = np.stack(list(pool.map(partial(_one, line), range(trials))))
    return errors


def _one(line: Line, seed: int) -> Errors:
    return serve(policy_named(line.policy, line.options), make_trial(seed), line.late_by)


def _summary(errors: Errors) -> dict[str, Any]:
    mean = errors.mean(axis=0)
    late = mean[HEALED_FROM + MAX_RECOVERY :]
    return {
        "error": float(mean.mean()),
        "deviation": float(errors.mean(axis=1).std()),
        "before": float(mean[:CORRUPTED_FROM].mean()),
        "corrupted": float(mean[CORRUPTED_FROM:HEALED_FROM].mean()),
        "recovered_after": _recovered_after(mean),
        "at_the_limit": float(late[: 2 * WINDOW].mean()),
        "after": float(late.mean()),
    }


def _recovered_after(mean: Errors) -> int | None:
    """Queries from healing until the end of the first window whose error is the best model's, within the tolerance."""
    inside = np.flatnonzero(_windows(mean[HEALED_FROM:]) <= BEST_ERROR + TOLERANCE)
    return int(inside[0]) + WINDOW if inside.size else None


def _windows(mean: Errors) -> Errors:
    """The mean of each window, by its last query."""
    return np.convolve(mean, np.full(WINDOW, 1.0 / WINDOW), mode="valid")


def _holds(results: Mapping[str, Any], name: str) -> bool:
    its = results["policies"][name]
    in_time = its["recovered_after"] is not None and its["recovered_after"] <= MAX_RECOVERY
    return bool(
        its["error"] < results["best_static_error"] and in_time and its["at_the_limit"] <= BEST_ERROR + TOLERANCE
    )


def _cumulative(errors: Errors) -> Errors:
    """The paper's metric: the mean error up to each query, over the trials."""
    return np.asarray(errors.mean(axis=0).cumsum() / np.arange(1, QUERIES + 1))


def _table(results: Mapping[str, Any]) -> Any:
    columns = ["error of", "whole run", "deviation", "before", "corrupted", "recovered after", "then 500", "rest"]
    rows = [
        [
            name,
            f"{its['error']:.4f}",
            f"{its['deviation']:.4f}",
            f"{its['before']:.4f}",
            f"{its['corrupted']:.4f}",
            "never" if its["recovered_after"] is None else f"{its['recovered_after']:,}",
            f"{its['at_the_limit']:.4f}",
            f"{its['after']:.4f}",
        ]
        for name, its in results["policies"].items()
    ]
    title = f"Failure recovery, {results['trials']} trials ('then': from {MAX_RECOVERY:,} queries after healing on)"
    return grid(title, columns, rows)


def _draw(errors: Mapping[str, Errors], path: Path) -> None:
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for line in (line for line in LINES if line.name in DRAWN):
        above.plot(*_curve(_cumulative(errors[line.name]), 1), line.style, label=line.name)
        below.plot(*_curve(_windows(errors[line.name].mean(axis=0)), WINDOW), line.style)
    for index, arm in enumerate(ARMS):
        style = {"color": str(0.3 + 0.1 * index), "linewidth": 0.8, "label": f"only accuracy {ACCURACIES[index]:g}"}
        above.plot(*_curve(_cumulative(errors[arm]), 1), **style)
    below.axhline(BEST_ERROR + TOLERANCE, color="0.4", linewidth=0.8, linestyle=":")
    label_at = (QUERIES, BEST_ERROR + TOLERANCE)
    below.annotate(f"best model + {TOLERANCE:g}", label_at, va="bottom", ha="right", color="0.4", fontsize="small")
    above.set(ylabel="mean error so far", ylim=(0.0, 0.5))
    below.set(ylabel=f"error of the last {WINDOW} queries", ylim=(0.0, 0.5), xlabel="queries", xlim=(0, QUERIES))
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    for axes in (above, below):
        axes.axvspan(CORRUPTED_FROM, HEALED_FROM, color="C3", alpha=0.08, linewidth=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def _curve(values: Errors, first: int) -> tuple[Errors, Errors]:
    """Abscissa and ordinate; more points than the picture can show would only thicken the line."""
    return np.arange(first, first + values.size)[::CURVE_STEP], values[::CURVE_STEP]


if __name__ == "__main__":
    main()
