"""Pictures of what the load generator measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipper.cli.outcome import BadUsage

if TYPE_CHECKING:
    from clipper.loadgen import Summary
    from clipper.loadgen.summary import Second

_SIZE_INCHES = (9.0, 8.0)
_DPI = 150
_COLOURS = {"answered": "tab:green", "default": "gold", "error": "tab:red", "lost": "black"}
_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)


def draw_load(summary: "Summary", title: str, path: Path) -> None:
    """What came of the queries of each second, their latencies, and the percentiles of the whole run.

    Raises:
        BadUsage: The file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  # an extra; pyplot would ask for a display

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    outcomes, latencies, percentiles = figure.subplots(3, 1)
    seconds = summary.seconds()
    _draw_outcomes(outcomes, seconds, title)
    _draw_latencies(latencies, seconds, summary.plan.slo_s * 1e3)
    _draw_percentiles(percentiles, summary)
    for axes in (outcomes, latencies, percentiles):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    try:
        figure.savefig(path)
    except OSError as error:
        raise BadUsage(f"'{path}' cannot be written: {error.strerror or error}.") from None


def _draw_outcomes(axes: Any, seconds: "list[Second]", title: str) -> None:
    numbers = [second.second for second in seconds]
    below = [0] * len(seconds)
    for kind, colour in _COLOURS.items():
        counts = [second.counts[kind] for second in seconds]  # type: ignore[index]  # the kinds
        if any(counts):
            axes.bar(numbers, counts, bottom=below, width=0.9, color=colour, label=kind)
        below = [a + b for a, b in zip(below, counts, strict=True)]
    axes.plot(numbers, [second.due for second in seconds], "k:", label="sent")
    axes.set(title=title, xlabel="second of the run", ylabel="queries")


def _draw_latencies(axes: Any, seconds: "list[Second]", slo_ms: float) -> None:
    numbers = [second.second for second in seconds]
    axes.plot(numbers, [_or_gap(second.p50_ms) for second in seconds], marker=".", label="P50")
    axes.plot(numbers, [_or_gap(second.p99_ms) for second in seconds], marker=".", label="P99")
    axes.axhline(slo_ms, color="tab:red", linestyle="--", label="SLO")
    axes.set(xlabel="second of the run", ylabel="latency of answers, ms", yscale="log")


def _draw_percentiles(axes: Any, summary: "Summary") -> None:
    """The tail gets as much room as the body: the axis counts nines."""
    answers = summary.answers()
    if answers.count:
        shown_ms = [answers.quantile_s(q) * 1e3 for q in _QUANTILES]
        axes.plot([1 / (1 - q) for q in _QUANTILES], shown_ms, marker=".", label="answers")
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="latency of answers, ms")
    axes.set_xticks([1 / (1 - q) for q in _QUANTILES[::2]], [f"{q * 100:g}" for q in _QUANTILES[::2]], minor=False)
    axes.minorticks_off()


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else value
