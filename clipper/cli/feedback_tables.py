"""Tables on the feedback log: what is in it, and what it says about policies."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clipper.cli.since import shown_time
from clipper.cli.tables import NOTHING
from clipper.evaluation import Estimate, Interval, LogStatistics, Result
from clipper.evaluation.statistics import Losses

SUPPORT_WORTH_A_WORD = 0.01
_KINDS = {"single": "one model", "policy": "chooses", "ensemble": "combines"}


def evaluation_view(app: str, result: Result) -> Group:
    """Every candidate, the lowest loss first, and what the figures rest on."""
    if not result.feedbacks:
        return Group(Text(f"The log of '{app}' has no feedback on its models in that time: nothing can be said."))
    percent = f"{result.confidence:.0%}"
    table = _table(f"{app}: what each policy would have earned")
    table.add_column("Policy")
    table.add_column("")
    for title in ("Mean loss", percent, "Against the answers", percent, "Support", "Worth"):
        table.add_column(title, justify="right")
    if result.answered is not None:
        table.add_row(
            "what was answered", "", _loss(result.answered), _interval(result.answered_interval), style="bold"
        )
        table.add_section()
    for estimate in sorted(result.estimates, key=_order):
        table.add_row(*_cells(estimate))
    return Group(table, *_remarks(result))


def statistics_view(app: str, statistics: LogStatistics) -> Group:
    """The log at a glance, by model and by time."""
    if not statistics.feedbacks:
        return Group(Text(f"The log of '{app}' has no feedback in that time."))
    return Group(_summary(app, statistics), Text(), _models_table(statistics), _periods_table(statistics))


def _order(estimate: Estimate) -> tuple[bool, float, str]:
    return estimate.loss is None, estimate.loss or 0.0, estimate.name


def _cells(it: Estimate) -> list[str | Text]:
    support = f"{1.0 - it.unsupported:.0%}"
    if it.loss is None:
        why = "raised" if it.fault else "no support"
        return [it.name, _KINDS[it.kind], Text(why, "yellow"), NOTHING, NOTHING, NOTHING, support, NOTHING]
    against = NOTHING if it.difference is None else f"{it.difference:+.4f}"
    style = ""
    if it.difference_interval is not None:
        style = "green" if it.difference_interval.high < 0 else "red" if it.difference_interval.low > 0 else ""
    return [
        it.name,
        _KINDS[it.kind],
        _loss(it.loss),
        _interval(it.interval),
        Text(against, style),
        _interval(it.difference_interval, signed=True),
        Text(support, "yellow" if it.unsupported > SUPPORT_WORTH_A_WORD else ""),
        f"{it.effective_count:,.0f}",
    ]


def _remarks(result: Result) -> Iterable[RenderableType]:
    yield Text(
        f"From {_count(result.feedbacks, 'feedback')}, {result.complete:,} of them with the outputs of all models. "
        "Mean loss: doubly robust estimate. Support: the share of the policy's choices about which the log says "
        "something. Worth: on how many choices of its own the estimate is as good as based.",
        "dim",
    )
    if result.left_out:
        said = _count(result.left_out, "further feedback")
        yield Text(f"Left out: {said}, on models that are no longer linked or on outputs that are not known.", "dim")
    for it in result.estimates:
        if it.fault:
            yield Text(f"{it.name} raised: {it.fault}", "red")
    unsupported = [it.name for it in result.estimates if it.loss is None and not it.fault]
    if unsupported:
        yield Text(
            f"No support for {', '.join(unsupported)}: the log has next to nothing on what they would have done. An "
            "ensemble needs feedback on queries that all models answered (feedback by input, or an ensemble for a "
            "while); a model needs some queries of its own (exploration, or ab with a small share).",
            "yellow",
        )


def _summary(app: str, it: LogStatistics) -> Group:
    policies = ", ".join(f"{name} {count:,}" for name, count in it.policies.most_common())
    delays = [it.delay_s.quantile(q) for q in (0.5, 0.9, 0.99)]
    lines = [
        f"{_count(it.feedbacks, 'feedback')} on '{app}', {shown_time(it.first_at)} to {shown_time(it.last_at)} UTC",
        f"policies: {policies}",
        f"by input: {it.by_input:,}; with a uid: {it.with_uid:,}; on an input seen before: {it.repeated_inputs:,}",
        f"answers: mean loss {_of(it.answers)}; defaults: {it.defaults:,}",
    ]
    if delays[0] is not None:
        lines.append(f"after the answer: P50 {delays[0]:.3g} s, P90 {delays[1]:.3g} s, P99 {delays[2]:.3g} s")
    if it.unanimous.count or it.divided.count:
        share = it.unanimous.count / (it.unanimous.count + it.divided.count)
        lines.append(
            f"agreement: all models said the same in {share:.1%} of the answers, mean loss {_of(it.unanimous)}; "
            f"in the others {_of(it.divided)}"
        )
    return Group(Text(lines[0], "bold"), *(Text(line) for line in lines[1:]))


def _models_table(statistics: LogStatistics) -> RenderableType:
    table = _table("Models")
    table.add_column("Model")
    for title in ("Asked", "Missing", "Mean loss", "Least propensity", "Mean 1 / propensity"):
        table.add_column(title, justify="right")
    for name, it in sorted(statistics.models.items()):
        table.add_row(
            name,
            f"{it.asked:,}",
            f"{it.missing:,}",
            _of(it.losses),
            f"{it.least_propensity:.3g}",
            f"{it.inverse_propensities / it.asked:.3g}",
        )
    return table


def _periods_table(statistics: LogStatistics) -> RenderableType:
    table = _table("Mean loss over time")
    models = sorted(statistics.models)
    for index, title in enumerate(("From (UTC)", "Feedbacks", "Answers", *models)):
        table.add_column(title, justify="right" if index else "left")
    for it in statistics.periods.values():
        losses = [_of(it.models.get(model, Losses())) for model in models]
        table.add_row(shown_time(it.begins_at), f"{it.feedbacks:,}", _of(it.answers), *losses)
    return Padding(table, (0, 0, 1, 0))


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _loss(value: float) -> str:
    return f"{value:.4f}"


def _of(losses: Losses) -> str:
    return NOTHING if losses.mean is None else _loss(losses.mean)


def _interval(interval: Interval | Sequence[float] | None, *, signed: bool = False) -> str:
    if interval is None:
        return NOTHING
    low, high = interval
    return f"{low:+.4f} .. {high:+.4f}" if signed else f"{low:.4f} .. {high:.4f}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
