"""Feedback: how much of it a server takes, with and without cached predictions, and what it costs those who ask.

Throughput is of single updates over 64 connections, each committed before its answer, about the answers of four
forests behind `exp4`: by query id (the answer carries what is needed), by input where the predictions are cached, and
by input where all forests must predict first. Then predictions of four linear models come at a steady rate, in turns
without any feedback and with feedback on 10 % of them: the 99th percentile of the predictions is to be at most 1.25 x
as high with feedback.
Run: `python benchmarks/feedback.py [--quick]`.
"""

import argparse
import gc
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvloop
from http_load import Mixed, MixedLoad
from numpy.typing import NDArray
from picture import panels, save_picture
from rich.console import Console
from servers import Up, clipper_up
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from table import console, grid, provenance, save
from wrk import drive_lines, require_wrk

MODELS = 4
FORESTS, LINEAR = "forests", "linear"
TREES = 10
SLO_MS = 1_000.0
CONNECTIONS = 64
UPDATES, QUICK_UPDATES = 200_000, 20_000
CACHED_INPUTS = 1_000
BATCH = 500
RATE_QPS = 1_000.0
FEEDBACK_SHARE = 0.1
ALLOWED = 1.25
SEED = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a figure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    chosen = parser.parse_args()
    quick = chosen.quick
    require_wrk()
    out = console()
    rounds, seconds = (1, 2.0) if quick else (chosen.rounds, chosen.seconds)
    with clipper_up() as up:
        _deploy(up)
        throughput = _throughput(out, up, QUICK_UPDATES if quick else UPDATES, rounds, seconds / 2)
        latency = _latency(out, up, rounds, seconds)
    results = {**provenance(), "rounds": rounds, "rate_qps": RATE_QPS, "feedback_share": FEEDBACK_SHARE}
    results |= {"throughput": throughput, "latency": latency}
    name = "feedback-quick" if quick else "feedback"
    show(out, results)
    out.print(f"Written to {save(name, results)} and {_draw(name, results)}")


def _deploy(up: Up) -> None:
    images, labels = load_digits(return_X_y=True)
    kinds = {
        FORESTS: [RandomForestClassifier(TREES, random_state=number) for number in range(MODELS)],
        LINEAR: [LogisticRegression(C=0.01 * 4.0**number, max_iter=2000) for number in range(MODELS)],
    }
    for kind, models in kinds.items():
        names = [f"{kind}-{number}" for number in range(MODELS)]
        for name, model in zip(names, models, strict=True):
            up.connection.deploy_model(name, 1, model.fit(images[::2], labels[::2]), input_type="doubles")
        up.connection.register_application(kind, input_type="doubles", slo_ms=SLO_MS, policy="exp4", models=names)


def _inputs(count: int, first: int) -> NDArray[np.float64]:
    """So many images that are like no other: the first pixel is a number of its own."""
    images, _ = load_digits(return_X_y=True)
    random = np.random.default_rng(SEED)
    rows = images[random.integers(0, len(images), count)]
    rows[:, 0] = (first + np.arange(count)) / 1e8
    return rows


def _throughput(out: Console, up: Up, updates: int, rounds: int, seconds: float) -> dict[str, Any]:
    url = f"{up.query_url}/{FORESTS}/update"
    cached = _inputs(CACHED_INPUTS, 0)
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="clipper-bench-") as folder:
        lines = Path(folder) / "bodies"
        for number in range(1, rounds + 1):
            out.print(f"[dim]throughput, round {number} of {rounds}[/dim]")
            first = 1_000_000 * number
            up.connection.predict_batch(FORESTS, cached)
            for way, bodies in (
                ("by query id", _by_query_id(up, updates // rounds, first)),
                ("by input, predictions cached", _by_input(cached)),
                ("by input, to be predicted", _by_input(_inputs(updates // rounds, first + 500_000))),
            ):
                count = _write(lines, bodies)
                measured = drive_lines(url, lines, CONNECTIONS, seconds)
                again = max(0, measured.queries - count) if way == "by query id" else 0
                runs.setdefault(way, []).append(
                    {
                        "per_s": (measured.queries - again) / (measured.queries / measured.qps),
                        "p50_ms": measured.p50_ms,
                        "p99_ms": measured.p99_ms,
                        "errors": measured.errors - again,
                    }
                )
    return {
        way: {"median": {key: median(run[key] for run in those) for key in those[0]}, "runs": those}
        for way, those in runs.items()
    }


def _by_query_id(up: Up, count: int, first: int) -> Iterator[dict[str, Any]]:
    for start in range(0, count, BATCH):
        for prediction in up.connection.predict_batch(FORESTS, _inputs(min(BATCH, count - start), first + start)):
            if prediction.error is None:
                yield {"query_id": prediction.query_id, "label": prediction.output}


def _by_input(rows: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    for row in rows.tolist():
        yield {"input": row, "label": 3}


def _write(path: Path, bodies: Iterator[dict[str, Any]]) -> int:
    with path.open("w") as file:
        for count, body in enumerate(bodies, 1):  # noqa: B007  # the last number is the count
            file.write(json.dumps(body, separators=(",", ":")) + "\n")
    return count


def _latency(out: Console, up: Up, rounds: int, seconds: float) -> dict[str, Any]:
    count = round(RATE_QPS * seconds)
    runs: dict[str, list[dict[str, float]]] = {"without feedback": [], "with feedback": []}
    gc.collect()
    gc.freeze()
    for number in range(rounds + 1):
        out.print(f"[dim]latency, round {number} of {rounds}[/dim]")
        for way, share in (("without feedback", 0.0), ("with feedback", FEEDBACK_SHARE)):
            first = 100_000_000 + 1_000_000 * number + (500_000 if share else 0)
            bodies = [json.dumps({"input": row}).encode() for row in _inputs(count, first).tolist()]
            mixed = uvloop.run(MixedLoad(up.query_url, LINEAR, RATE_QPS, share, SEED + number).run(bodies))
            if number:  # The first round warms up.
                runs[way].append(_summary(mixed))
    medians = {way: {key: median(run[key] for run in those) for key in those[0]} for way, those in runs.items()}
    ratios = [
        after["p99_ms"] / before["p99_ms"]
        for before, after in zip(runs["without feedback"], runs["with feedback"], strict=True)
    ]
    return {"median": medians, "p99_ratio": median(ratios), "p99_ratios": ratios, "runs": runs}


def _summary(mixed: Mixed) -> dict[str, float]:
    p50_ms, p99_ms = np.quantile(mixed.predictions_s, [0.5, 0.99]) * 1e3
    updates_ms = np.quantile(mixed.updates_s, [0.5, 0.99]) * 1e3 if mixed.updates_s else (0.0, 0.0)
    return {
        "p50_ms": float(p50_ms),
        "p99_ms": float(p99_ms),
        "update_p50_ms": float(updates_ms[0]),
        "update_p99_ms": float(updates_ms[1]),
        "updates": len(mixed.updates_s),
        "failed": mixed.failed,
    }


def show(out: Console, results: Mapping[str, Any]) -> None:
    out.print(f"\n{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    rows = [
        [way, f"{it['per_s']:,.0f}", f"{it['p50_ms']:.1f}", f"{it['p99_ms']:.1f}", f"{it['errors']:.0f}"]
        for way, it in ((way, both["median"]) for way, both in results["throughput"].items())
    ]
    title = f"Feedback over {CONNECTIONS} connections, {MODELS} forests of {TREES} trees"
    out.print(grid(title, ("feedback", "updates/s", "P50 ms", "P99 ms", "errors"), rows))
    latency = results["latency"]
    rows = [
        [
            way,
            f"{it['p50_ms']:.2f}",
            f"{it['p99_ms']:.2f}",
            f"{it['update_p50_ms']:.2f}" if it["updates"] else "",
            f"{it['update_p99_ms']:.2f}" if it["updates"] else "",
            f"{it['failed']:.0f}",
        ]
        for way, it in latency["median"].items()
    ]
    columns = ("predictions", "P50 ms", "P99 ms", "feedback: P50 ms", "P99 ms", "failed")
    out.print(
        grid(f"{results['rate_qps']:,.0f} predictions a second, medians of {results['rounds']} rounds", columns, rows)
    )
    out.print(
        f"P99 with {results['feedback_share']:.0%} feedback: {latency['p99_ratio']:.2f} x (allowed: {ALLOWED} x)."
    )


def _draw(name: str, results: Mapping[str, Any]) -> str:
    figure, (throughput, latency) = panels(2)
    ways = list(results["throughput"])
    throughput.barh(ways[::-1], [results["throughput"][way]["median"]["per_s"] for way in ways[::-1]])
    throughput.set(xlabel="updates a second", title=f"Committed feedback, {MODELS} forests of {TREES} trees")
    _draw_rounds(latency, results["latency"]["runs"])
    return str(save_picture(name, figure))


def _draw_rounds(axes: Any, runs: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    for way, those in runs.items():
        axes.plot(range(1, len(those) + 1), [run["p99_ms"] for run in those], "o-", label=way)
    axes.set(xlabel="round", ylabel="P99 of predictions, ms", title="What feedback costs predictions", ylim=(0, None))
    axes.legend(frameon=False, fontsize="small")


if __name__ == "__main__":
    main()
