"""The table at the end of the demo."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from counters import Counters
from digits import Labels
from load import Reply
from rich.table import Table

COLUMNS = ("queries", "qps", "accuracy", "P50 ms", "P99 ms", "mean batch", "cache hits", "retried", "defaults", "lost")


class Phase(NamedTuple):
    """A part of the story: it starts with query ``first``, when the server had counted ``counters``."""

    name: str
    first: int
    counters: Counters


def table(phases: Sequence[Phase], end: Phase, replies: Sequence[Reply], labels: Labels, rate_qps: float) -> Table:
    """One row for each phase and one for all of it."""
    result = Table(title="What happened", title_justify="left", title_style="bold", header_style="bold")
    result.caption = "P50 and P99 as the client sees them, from the moment at which a query was due"
    result.add_column("phase", no_wrap=True)
    for column in COLUMNS:
        result.add_column(column, justify="right")
    for phase, following in zip(phases, [*phases[1:], end], strict=True):
        if following.first > phase.first:
            result.add_row(phase.name, *_cells(phase, following, replies, labels, rate_qps))
    result.add_section()
    result.add_row("all", *_cells(phases[0], end, replies, labels, rate_qps), style="bold")
    return result


def accuracy(replies: Sequence[Reply], labels: Labels) -> float:
    """Share of right answers; a default output is a wrong one."""
    return float(np.mean([reply.output == labels[reply.index] for reply in replies])) if replies else float("nan")


def lost(replies: Sequence[Reply], sent: int) -> int:
    """Queries that got no answer, or an error in place of one."""
    return sent - sum(reply.error is None for reply in replies)


def reasons(replies: Sequence[Reply]) -> str:
    """Defaults by reason, and errors, in words."""
    defaults = Counter(reply.default_code for reply in replies if reply.default_code)
    errors = Counter(reply.error for reply in replies if reply.error)
    words = [f"{count} default outputs ({code})" for code, count in defaults.most_common()]
    words += [f"{count} errors ({error})" for error, count in errors.most_common()]
    return ", ".join(words) or "none"


def _cells(start: Phase, end: Phase, replies: Sequence[Reply], labels: Labels, rate_qps: float) -> list[str]:
    sent = end.first - start.first
    mine = [reply for reply in replies if start.first <= reply.index < end.first]
    p50_ms, p99_ms = np.quantile([reply.latency_s for reply in mine], [0.5, 0.99]) * 1e3 if mine else (np.nan, np.nan)
    counted = end.counters.since(start.counters)
    return [
        f"{sent:,}",
        f"{len(mine) / (sent / rate_qps):,.0f}",
        f"{accuracy(mine, labels):.1%}",
        f"{p50_ms:.1f}",
        f"{p99_ms:.1f}",
        f"{counted.mean_batch:.1f}",
        f"{counted.cache_hits / sent:.0%}",
        f"{counted.retries:.0f}",
        f"{sum(reply.default_code is not None for reply in mine)}",
        f"{lost(mine, sent)}",
    ]
