"""Writes the figures of the last full runs into the documents. Run after `make bench` and `make bench-selection`.

Those of `make bench` go into the README, between its two markers; `Document`s consist of the others.
"""

import io
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from table import RESULTS, WIDTH_OF_A_PIPE

README = Path(__file__).parents[1] / "README.md"
DOCS = README.parent / "docs"
START, END = "<!-- figures: start -->\n", "<!-- figures: end -->\n"


class Document(NamedTuple):
    """A file in docs/ that has the results of several benchmarks: name of the results -> heading."""

    file: str
    title: str
    made_by: str
    benchmarks: Mapping[str, str]


DOCUMENTS = (
    Document(
        "selection-benchmarks.md",
        "Figures of the selection layer",
        "make bench-selection",
        {
            "recovery": "Failure recovery: the best of five models breaks for a quarter of the time",
            "ensembles": "Ensembles are right more often than their best member, and know when",
            "stragglers": "Sixteen members, some of them late",
            "contexts": "Users for whom different models are right",
            "selection-cost": "What choosing and combining cost",
            "feedback": "How much feedback, and what it costs the predictions beside it",
        },
    ),
    Document(
        "container-benchmarks.md",
        "Figures of replicas",
        "make bench-containers",
        {
            "scaling": "Replicas scale throughput, and follow the load by themselves",
            "docker-path": "What a Docker container costs on the way of a prediction",
        },
    ),
)


def main() -> None:
    README.write_text(with_figures(README.read_text()))
    for document in DOCUMENTS:
        (DOCS / document.file).write_text(written(document))


def written(document: Document) -> str:
    """The document, from those results that there are."""
    parts = [_section(name, title) for name, title in document.benchmarks.items() if _results(name).exists()]
    return f"# {document.title}\n\nMade by `{document.made_by}`.\n" + "".join(parts)


def _section(name: str, title: str) -> str:
    console = Console(width=WIDTH_OF_A_PIPE, file=io.StringIO())
    import_module(name.replace("-", "_")).show(console, json.loads(_results(name).read_text()))
    printed = "\n".join(line.rstrip() for line in console.file.getvalue().strip().splitlines())
    picture = f"![{title}](../benchmarks/results/{name}.png)\n\n" if _results(name).with_suffix(".png").exists() else ""
    return f"\n## {title}\n\n{picture}```text\n{printed}\n```\n"


def _results(name: str) -> Path:
    return RESULTS / f"{name}.json"


def with_figures(text: str) -> str:
    """The README with the section between the markers made from those results that there are."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    parts = [
        "\n" + write(json.loads(path.read_text()))
        for name, write in (("serving", _serving), ("batching", _batching))
        if (path := _results(name)).exists()
    ]
    return f"{before}{START}{''.join(parts)}{END}{after}"


def _serving(results: Mapping[str, Any]) -> str:
    medians = {(c["server"], c["inputs"], c["connections"], c["bodies"]): c["median"] for c in results["cells"]}
    rows = [
        [
            name,
            *_throughput(medians[name, 10, 64, "distinct"]),
            *_throughput(medians[name, 784, 64, "distinct"]),
            f"{medians[name, 10, 64, 'repeated']['qps']:,.0f}",
            f"{medians[name, 10, 1, 'distinct']['p50_ms']:.2f}",
        ]
        for name in results["settings"]
    ]
    head = ["server", "10 doubles: qps", "P99 ms", "CPU us", "784 doubles: qps", "P99 ms", "CPU us"]
    head += ["one repeated body: qps", "1 connection: P50 ms"]
    settings = "".join(f"- {name}: {text}\n" for name, text in results["settings"].items())
    return (
        "**Over HTTP**, no-op model, 64 connections (last column: 1), distinct bodies (last but one: 10 doubles,\n"
        "always the same). CPU: microseconds a query, of the server's process tree; wrk shares the machine.\n"
        f"{_where(results)}\n\n{_table(head, rows)}\n{settings}"
    )


def _throughput(median: Mapping[str, float]) -> list[str]:
    return [f"{median['qps']:,.0f}", f"{median['p99_ms']:.1f}", f"{median['server_cpu_us']:.1f}"]


def _batching(results: Mapping[str, Any]) -> str:
    head = ["model", "policy", "qps", "of `none`", "P50 ms", "P99 ms", "mean batch", "on time"]
    rows = [
        [
            model,
            policy,
            f"{it['qps']:,.0f}",
            f"{it['qps'] / summaries['none']['qps']:.1f}",
            f"{it['p50_ms']:.1f}",
            f"{it['p99_ms']:.1f}",
            f"{it['mean_batch']:.1f}",
            f"{it['on_time']:.2%}",
        ]
        for model, summaries in results["models"].items()
        for policy, it in summaries.items()
    ]
    return (
        f"**Batching policies** on the engine, without HTTP: 784 doubles, SLO {results['slo_ms']:g} ms, one replica,\n"
        f"each policy at the load where it answers most within the SLO. {_where(results)}\n\n{_table(head, rows)}"
    )


def _where(results: Mapping[str, Any]) -> str:
    return (
        f"Median of {results['rounds']} runs of {results['seconds']:g} s.\n"
        f"{results['machine']}, Python {results['python']}, {results['date']}, `{results['command']}`."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
