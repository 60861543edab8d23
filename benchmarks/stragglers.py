"""Sixteen members and an SLO of 20 ms: waiting for all of them, against answering at the deadline with what has come.

Once the members are forests, at a rate that two cores sustain; once they are small models that sleep with a heavy tail,
as replicas on busy machines would. All in this process except the replicas; no REST, nothing cached. The answer at the
deadline is on time; what it costs is shown by the number of members that made it.
Run: `python benchmarks/stragglers.py [--quick]`.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import uvloop
from artifacts import write_estimator, write_function
from embedded import Replicated, Serving, embedded
from numpy.typing import NDArray
from open_loop import Answered, run_open_loop
from picture import panels, save_picture
from rich.console import Console
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from table import console, grid, provenance, save

from clipper.domain import Application

MEMBERS = 16
SLO_MS = 20.0
NOISE_OF_SCHEDULING_MS = 10.0
PATIENT_SLO_MS = 30_000.0
FOREST_TREES = 20
FOREST_ROWS = 120
FOREST_RATE_QPS = 12.0
SLEEPER_RATE_QPS = 60.0
SLEEPER_PIXELS = 12
TYPICAL_SLEEP_S = 0.004
TAIL_SHARE, TAIL_SHORTEST_S, TAIL_EXPONENT, LONGEST_SLEEP_S = 0.03, 0.015, 1.1, 0.3
QUERIES, QUICK_QUERIES = 3_000, 200
SEED = 11


class Setting(NamedTuple):
    """A kind of members, and the rate at which they are asked."""

    name: str
    rate_qps: float
    flavor: str
    write: Callable[["Digits", Path], list[Path]]


class Digits(NamedTuple):
    """Half of the images to train on, the other half to ask about."""

    train: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    held_out: NDArray[np.float64]
    held_out_labels: NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_QUERIES} queries: a look, not a figure")
    parser.add_argument("--queries", type=int, default=QUERIES, help="to each way of answering")
    chosen = parser.parse_args()
    quick = chosen.quick
    out = console()
    count = QUICK_QUERIES if quick else chosen.queries
    results: dict[str, Any] = {**provenance(), "members": MEMBERS, "slo_ms": SLO_MS, "queries": count, "settings": {}}
    for setting in SETTINGS:
        out.print(f"[dim]{setting.name}: training, starting {MEMBERS} replicas ...[/dim]")
        results["settings"][setting.name] = uvloop.run(_measure(setting, count))
    name = "stragglers-quick" if quick else "stragglers"
    show(out, results)
    out.print(f"Written to {save(name, results)} and {_draw(name, results)}")


def _digits() -> Digits:
    images, labels = load_digits(return_X_y=True)
    train, held_out, train_labels, held_out_labels = train_test_split(
        images, labels, test_size=0.5, random_state=SEED, stratify=labels
    )
    return Digits(train, train_labels, held_out, held_out_labels)


def _write_forests(digits: Digits, folder: Path) -> list[Path]:
    """Forests, each of which has seen other digits."""
    random = np.random.default_rng(SEED)
    artifacts = []
    for number in range(MEMBERS):
        rows = random.choice(len(digits.train), FOREST_ROWS, replace=False)
        forest = RandomForestClassifier(FOREST_TREES, random_state=number)
        artifacts.append(
            write_estimator(forest.fit(digits.train[rows], digits.train_labels[rows]), folder / f"{number}")
        )
    return artifacts


def _write_sleepers(digits: Digits, folder: Path) -> list[Path]:
    """Linear models, each of which sees a few pixels only, and sleeps before it answers."""
    random = np.random.default_rng(SEED)
    artifacts = []
    for number in range(MEMBERS):
        pixels = random.choice(digits.train.shape[1], SLEEPER_PIXELS, replace=False)
        model = LogisticRegression(max_iter=2000).fit(digits.train[:, pixels], digits.train_labels)
        sleeper = _sleeper(pixels, model.coef_.T, model.intercept_, seed=number)
        artifacts.append(write_function(sleeper, digits.train.shape[1], folder / f"{number}"))
    return artifacts


def _sleeper(pixels: NDArray[Any], weights: NDArray[Any], offsets: NDArray[Any], seed: int) -> Callable[..., Any]:
    """A function that carries all it needs: a replica has none of this file."""
    import random as chance  # noqa: PLC0415  # travels with the function
    import time  # noqa: PLC0415  # as above

    typical_s, longest_s = TYPICAL_SLEEP_S, LONGEST_SLEEP_S
    tail_share, tail_shortest_s, tail_exponent = TAIL_SHARE, TAIL_SHORTEST_S, TAIL_EXPONENT
    draw = chance.Random(seed)  # noqa: S311  # seeded, so that the tail comes again

    def predict(batch: Any) -> Any:
        slow = draw.random() < tail_share
        wanted_s = tail_shortest_s * draw.paretovariate(tail_exponent) if slow else draw.expovariate(1.0 / typical_s)
        time.sleep(min(longest_s, wanted_s))
        return (batch[:, pixels] @ weights + offsets).argmax(axis=1).tolist()

    return predict


SETTINGS = (
    Setting(f"forests of {FOREST_TREES} trees", FOREST_RATE_QPS, "sklearn", _write_forests),
    Setting("members that sleep with a heavy tail", SLEEPER_RATE_QPS, "python", _write_sleepers),
)


async def _measure(setting: Setting, count: int) -> dict[str, Any]:
    digits = _digits()
    random = np.random.default_rng(SEED)
    chosen = random.integers(0, len(digits.held_out), count)
    # A little noise: nothing is asked twice, so that nothing is answered by another query's prediction.
    rows = [row.astype("<f8").tobytes() for row in digits.held_out[chosen] + random.normal(0, 0.01, (count, 64))]
    labels = digits.held_out_labels[chosen]
    with tempfile.TemporaryDirectory(prefix="clipper-bench-") as folder:
        artifacts = await asyncio.to_thread(setting.write, digits, Path(folder) / "artifacts")
        models = {f"member-{n}": Replicated(path, setting.flavor) for n, path in enumerate(artifacts)}
        async with embedded(models, [_application("patient", PATIENT_SLO_MS, models)], Path(folder)) as serving:
            waited = await _run(serving, "patient", rows, setting.rate_qps)
            switched = serving.switch_to([_application("prompt", SLO_MS, models)])
            prompt = await _run(switched, "prompt", rows, setting.rate_qps)
    return {
        "rate_qps": setting.rate_qps,
        "waiting for all": _summary(waited, labels),
        "at the deadline": _summary(prompt, labels),
    }


def _application(name: str, slo_ms: float, models: Mapping[str, Replicated]) -> Application:
    return Application(name=name, input_type="doubles", slo_ms=slo_ms, models=tuple(models), policy="majority")


async def _run(serving: Serving, application: str, rows: Sequence[bytes], rate_qps: float) -> list[Answered]:
    await run_open_loop(serving.engine, application, rows[: len(rows) // 10], rate_qps, SEED + 1)
    return await run_open_loop(serving.engine, application, rows, rate_qps, SEED)


def _summary(answered: Sequence[Answered], labels: NDArray[np.int64]) -> dict[str, Any]:
    latency_ms = np.array([it.latency_s for it in answered]) * 1e3
    right = [
        it.answer.output is not None and msgspec.json.decode(it.answer.output) == labels[it.index] for it in answered
    ]
    arrived = [MEMBERS - len(it.answer.missing or ()) if it.answer.error is None else 0 for it in answered]
    by_arrived = {
        count: {"queries": len(those), "accuracy": float(np.mean(those))}
        for count in range(MEMBERS + 1)
        if (those := [good for good, came in zip(right, arrived, strict=True) if came == count])
    }
    return {
        "p50_ms": float(np.quantile(latency_ms, 0.5)),
        "p99_ms": float(np.quantile(latency_ms, 0.99)),
        "max_ms": float(latency_ms.max()),
        "on_time": float(np.mean(latency_ms <= SLO_MS + NOISE_OF_SCHEDULING_MS)),
        "accuracy": float(np.mean(right)),
        "mean_members": float(np.mean(arrived)),
        "errors": sum(it.answer.error is not None for it in answered),
        "by_members": by_arrived,
        "latency_ms": np.quantile(latency_ms, np.linspace(0, 1, 201)).round(3).tolist(),
    }


def show(out: Console, results: Mapping[str, Any]) -> None:
    out.print(f"\n{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    columns = ("answering", "P50 ms", "P99 ms", "max ms", "on time", "members", "accuracy", "no answer")
    for name, setting in results["settings"].items():
        rows = [
            [
                way,
                f"{it['p50_ms']:.1f}",
                f"{it['p99_ms']:.1f}",
                f"{it['max_ms']:.1f}",
                f"{it['on_time']:.2%}",
                f"{it['mean_members']:.2f}",
                f"{it['accuracy']:.2%}",
                f"{it['errors']}",
            ]
            for way, it in setting.items()
            if way != "rate_qps"
        ]
        out.print(grid(f"{name}, {setting['rate_qps']:g} queries a second", columns, rows))
        by_members = setting["at the deadline"]["by_members"]
        said = ", ".join(f"{count}: {it['accuracy']:.1%} of {it['queries']}" for count, it in by_members.items())
        out.print(f"Accuracy by members that made it: {said}\n")
    out.print(f"On time: within the SLO of {SLO_MS:g} ms and {NOISE_OF_SCHEDULING_MS:g} ms of scheduling noise.")


def _draw(name: str, results: Mapping[str, Any]) -> str:
    figure, axes = panels(2 * len(results["settings"]))
    for index, (title, setting) in enumerate(results["settings"].items()):
        latency, accuracy = axes[2 * index : 2 * index + 2]
        for way in ("waiting for all", "at the deadline"):
            latency.plot(setting[way]["latency_ms"], np.linspace(0, 1, 201), label=way)
        latency.axvline(SLO_MS, color="gray", linestyle=":", label="SLO")
        latency.set(xscale="log", xlabel="latency, ms", ylabel="share of answers", title=title)
        latency.legend(frameon=False, fontsize="small")
        by_members = setting["at the deadline"]["by_members"]
        sizes = [max(10.0, 300 * it["queries"] / results["queries"]) for it in by_members.values()]
        accuracy.scatter(list(by_members), [100 * it["accuracy"] for it in by_members.values()], sizes)
        accuracy.axhline(
            100 * setting["waiting for all"]["accuracy"], color="gray", linestyle=":", label="waiting for all"
        )
        accuracy.set(xlabel="members that made it", ylabel="accuracy, %", title=title, xlim=(-0.5, MEMBERS + 0.5))
        accuracy.legend(frameon=False, fontsize="small")
    return str(save_picture(name, figure))


if __name__ == "__main__":
    main()
