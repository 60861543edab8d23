"""A run of the load generator for people: while it goes, and afterwards."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clipper.loadgen import Plan, Summary, Target
from clipper.loadgen.histogram import Histogram
from clipper.loadgen.outcomes import ANSWERED, Kind

REDRAWN_S = 0.25
_QUANTILES = (("P50", 0.5), ("P90", 0.9), ("P99", 0.99), ("P99.9", 0.999))
_NAMES: dict[Kind, str] = {"answered": "Answered", "default": "Defaults", "error": "Errors", "lost": "Lost"}
_STYLES: dict[Kind, str] = {"answered": "", "default": "yellow", "error": "red", "lost": "red"}


@contextmanager
def watching(console: Console, target: Target, summary: Summary) -> Iterator[Callable[[], None]]:
    """Something to call when there is more; what it shows is gone afterwards. Without a terminal it shows nothing."""
    if not console.is_terminal:
        yield lambda: None
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        drawn_s = 0.0

        def show() -> None:
            nonlocal drawn_s
            if time.monotonic() - drawn_s >= REDRAWN_S:
                drawn_s = time.monotonic()
                live.update(load_view(target, summary), refresh=True)

        yield show


def load_view(target: Target, summary: Summary) -> Group:
    """Everything that was measured so far."""
    parts: list[RenderableType] = [_headline(target, summary), Text(), _outcomes(summary)]
    parts += _reasons(summary)
    parts.append(_generator(summary))
    return Group(*parts)


def _headline(target: Target, summary: Summary) -> Text:
    plan = summary.plan
    line = Text.assemble((f"{target.application}  ", "bold"), _load(plan), f", {target.spoken}")
    line.append(f", {summary.elapsed_s:.1f} of {plan.duration_s:g} s", "dim")
    line.append(f", {summary.connections} connections\n", "dim")
    share = summary.on_time[ANSWERED] / summary.due if summary.due else 0.0
    line.append(f"Sent {summary.due:,} ({summary.per_s(summary.due):,.0f}/s)   ")
    line.append(f"goodput within {plan.slo_s * 1e3:g} ms: ")
    line.append(f"{summary.goodput_qps:,.0f}/s ({share:.2%} of all sent)", "bold")
    return line


def _load(plan: Plan) -> str:
    if plan.rate_qps is None:
        return f"{plan.connections} callers in a closed loop"
    return f"{plan.rate_qps:,.6g} queries a second, {plan.arrivals}"


def _outcomes(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for title in ("Queries", "a second", *(f"{name} ms" for name, _ in _QUANTILES), "Max ms"):
        table.add_column(title, justify="right")
    for kind, name in _NAMES.items():
        count = summary.count(kind)
        style = _STYLES[kind] if count else "dim"
        rate = f"{summary.per_s(count):,.1f}"
        table.add_row(name, f"{count:,}", rate, *_latencies(summary.latencies[kind]), style=style)
    return table


def _latencies(latencies: Histogram) -> Iterable[str]:
    if not latencies.count:
        return ["-"] * (len(_QUANTILES) + 1)
    return [*(_ms(latencies.quantile_s(q)) for _, q in _QUANTILES), _ms(latencies.max_s)]


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1e3
    return f"{milliseconds:,.0f}" if milliseconds >= 1000 else f"{milliseconds:.3g}"  # noqa: PLR2004  # a second


def _reasons(summary: Summary) -> Iterator[Text]:
    for kind, name in _NAMES.items():
        reasons = ", ".join(f"{code} {count:,}" for code, count in summary.of(kind).items() if code)
        if reasons:
            yield Text(f"{name}: {reasons}", _STYLES[kind])


def _generator(summary: Summary) -> Text:
    open_loop = summary.plan.rate_qps is not None and summary.delays.count
    lag = f"P99 {_ms(summary.delays.quantile_s(0.99))} ms late, " if open_loop else ""
    line = Text(f"The generator itself: {lag}{summary.generator_cpu:.0%} of a core. ", "dim")
    limit = summary.limit()
    return line.append("It was not the limit.") if limit is None else line.append(limit, "bold yellow")
