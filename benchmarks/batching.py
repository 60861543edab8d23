"""The batching policies side by side, on the engine: linear SVM and random forest, 784 inputs, SLO 20 ms.

No REST: an in-process generator asks the engine, whose replicas are real processes behind the container protocol. For
each policy the number of queries under way is searched at which it answers most queries a second with the 99th
percentile inside three quarters of the SLO and almost nothing refused; the policies are then measured there in turns,
so that a drift of the machine hits all alike. Nothing is cached.
Run: `python benchmarks/batching.py [--quick]`.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvloop
from closed_loop import ClosedLoop, Outcome
from embedded import engine_with
from numpy.typing import NDArray
from rich.console import Console
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import LinearSVC
from table import console, grid, provenance, save

SLO_MS = 20.0
INPUTS = 784
CLASSES = 10
TRAINING_ROWS = 2_000
POLICIES = {"none": "none", "fixed": "fixed:64", "aimd": "aimd", "quantile": "quantile", "deadline": "deadline"}
OUTSTANDING = [1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048]
GIVE_UP_AFTER = 3
HEADROOM = 0.75
MAX_REFUSED = 0.005
SEED = 7


def main() -> None:
    arguments = _arguments()
    out = console()
    rows, labels = _training_data()
    models = {
        "linear SVM": LinearSVC(max_iter=200, tol=1e-2, random_state=SEED),
        "random forest, 10 trees": RandomForestClassifier(10, random_state=SEED),
    }
    results: dict[str, Any] = {
        **provenance(),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "slo_ms": SLO_MS,
    }
    results["models"] = {}
    for name, estimator in models.items():
        out.print(f"[dim]{name}: training, starting {len(POLICIES)} replicas ...[/dim]")
        outcomes = uvloop.run(_measure(out, estimator.fit(rows, labels), rows, arguments))
        results["models"][name] = {policy: _summary(runs) for policy, runs in outcomes.items()}
    _print(out, results)
    out.print(f"Written to {save('batching-quick' if arguments.quick else 'batching', results)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of one second: a look, not a figure")
    parser.add_argument("--rounds", type=int, help="runs of each policy (default 3)")
    parser.add_argument("--seconds", type=float, help="of one run (default 5)")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.seconds = arguments.seconds or (1.0 if arguments.quick else 5.0)
    return arguments


def _training_data() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ten noisy prototypes of 784 pixels: learnable, and of the size of the paper's digits."""
    random = np.random.default_rng(SEED)
    prototypes = random.random((CLASSES, INPUTS))
    labels = random.integers(0, CLASSES, TRAINING_ROWS)
    return prototypes[labels] + random.normal(0, 0.5, (TRAINING_ROWS, INPUTS)), labels


async def _measure(
    out: Console, estimator: Any, rows: NDArray[np.float64], arguments: argparse.Namespace
) -> Mapping[str, list[Outcome]]:
    with tempfile.TemporaryDirectory(prefix="clipper-bench-") as folder:
        async with engine_with(estimator, POLICIES, SLO_MS, Path(folder)) as engine:
            loops = {policy: ClosedLoop(engine, policy, rows) for policy in POLICIES}
            best = {}
            for policy, loop in loops.items():
                best[policy] = await _best_outstanding(loop)
                out.print(f"[dim]  {policy}: most goodput with {best[policy]} queries under way[/dim]")
            outcomes: dict[str, list[Outcome]] = {policy: [] for policy in POLICIES}
            for _ in range(arguments.rounds):
                for policy, loop in loops.items():
                    outcomes[policy].append(await loop.run(best[policy], arguments.seconds))
            return outcomes


async def _best_outstanding(loop: ClosedLoop) -> int:
    """The number of queries under way with most goodput; gives up after some larger ones that are no better."""
    await loop.run(1, 0.3)
    best_qps, best, no_better = 0.0, OUTSTANDING[0], 0
    for outstanding in OUTSTANDING:
        await loop.run(outstanding, 0.5)  # adaptive policies find their batch size first
        outcome = await loop.run(outstanding, 1.0)
        if _goodput(outcome) > best_qps:
            best_qps, best, no_better = _goodput(outcome), outstanding, 0
        else:
            no_better += 1
        if no_better == GIVE_UP_AFTER:
            break
    return best


def _goodput(outcome: Outcome) -> float:
    """Answers a second, or 0 where the 99th percentile or the refusals are not what one would run at."""
    refused = outcome.refused.total() / max(1, outcome.refused.total() + len(outcome.latency_s))
    inside = outcome.quantile_ms(0.99) <= HEADROOM * SLO_MS and refused <= MAX_REFUSED
    return outcome.qps if inside else 0.0


def _summary(runs: Sequence[Outcome]) -> dict[str, Any]:
    refused = sum((run.refused for run in runs), Counter[str]())
    return {
        "outstanding": runs[0].outstanding,
        "qps": median(run.qps for run in runs),
        "p50_ms": median(run.quantile_ms(0.5) for run in runs),
        "p99_ms": median(run.quantile_ms(0.99) for run in runs),
        "mean_batch": median(run.mean_batch for run in runs),
        "on_time": median(run.on_time(SLO_MS / 1e3) for run in runs),
        "refused": dict(refused),
        "runs_qps": [run.qps for run in runs],
    }


def _print(out: Console, results: Mapping[str, Any]) -> None:
    out.print(f"\n{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    runs = f"{results['rounds']} runs of {results['seconds']:g} s"
    out.print(f"Median of {runs}, each policy at its best load; SLO {SLO_MS:g} ms.\n")
    columns = ("policy", "qps", "of none", "P50 ms", "P99 ms", "mean batch", "on time", "under way", "refused")
    for model, summaries in results["models"].items():
        rows = [
            [
                policy,
                f"{it['qps']:,.0f}",
                f"{it['qps'] / summaries['none']['qps']:.1f}",
                f"{it['p50_ms']:.1f}",
                f"{it['p99_ms']:.1f}",
                f"{it['mean_batch']:.1f}",
                f"{it['on_time']:.2%}",
                f"{it['outstanding']}",
                ", ".join(f"{count} {code}" for code, count in it["refused"].items()) or "0",
            ]
            for policy, it in summaries.items()
        ]
        out.print(grid(model, columns, rows))


if __name__ == "__main__":
    main()
