"""Tables for people: `clipper status` and its parts. Columns that the terminal is too narrow for are left out."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 160
LAST_WORDS_LINES = 6
FULL_BAR_CHARS = 20
NOTHING = "-"
_STATE_STYLES = {
    "ready": "green",
    "failed": "bold red",
    "starting": "yellow",
    "warming": "yellow",
    "draining": "yellow",
}

_ROLLOUT_WORDS = {
    "waiting": ("canary on {:.4g}% of the traffic, not yet: ", "yellow"),
    "running": ("canary on {:.4g}% of the traffic: ", "yellow"),
    "promoted": ("canary promoted: ", "green"),
    "rolled_back": ("canary rolled back: ", "bold red"),
    "ended": ("canary ended ", ""),
}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column, shown from this width of the terminal on."""

    title: str
    cell: Callable[[Row], RenderableType]
    from_width: int = 0
    justify: Literal["left", "right"] = "left"


def console() -> Console:
    """Standard output. What is piped away is not cut to 80 columns, unless ``COLUMNS`` says so."""
    out = Console(highlight=False)
    known = out.is_terminal or "COLUMNS" in os.environ
    return out if known else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)


def status_view(status: Mapping[str, Any], width: int) -> Group:
    """Everything, as ``/admin/status`` has it."""
    versions = [version for model in status["models"] for version in model["versions"]]
    parts: list[RenderableType] = [_headline(status), Text()]
    parts.append(applications_table(status["applications"], width))
    parts.append(
        _table("Models", _VERSION_COLUMNS, versions, width, "No models. Deploy one: clipper deploy NAME VERSION PATH")
    )
    parts.append(_table("Replicas", _REPLICA_COLUMNS, status["replicas"], width, "No replicas."))
    parts += _reasons(status["applications"])
    parts += _rollouts(status["models"])
    parts += _scales(versions)
    parts += _troubles(versions)
    return Group(*parts)


def applications_table(applications: Iterable[Row], width: int) -> RenderableType:
    """One row for each application."""
    return _table(
        "Applications", _APPLICATION_COLUMNS, applications, width, "No applications. Register one: clipper app create"
    )


def weights_table(selection: Mapping[str, Any]) -> Group:
    """How a policy regards its models, and what feedback has taught it."""
    user = f" for '{selection['uid']}'" if selection["uid"] else ""
    title = f"{selection['application']}: {selection['policy']}{user}"
    parts = [
        _table(title, _WEIGHT_COLUMNS, selection["models"], WIDTH_WITHOUT_TERMINAL, f"{title}: no model is linked."),
        Text(_what_it_rests_on(selection), "dim"),
    ]
    if selection["fault"]:
        parts.append(Text(f"The fallback answers, because: {selection['fault']}", "red"))
    return Group(*parts)


def _what_it_rests_on(selection: Mapping[str, Any]) -> str:
    count, half_life = selection["feedbacks"], selection["half_life_feedbacks"]
    feedbacks = f"{count:,} feedback{'' if count == 1 else 's'}"
    return feedbacks if half_life is None else f"{feedbacks}; one counts half after {half_life:g} more"


def _headline(status: Mapping[str, Any]) -> Text:
    line = Text.assemble(("Clipper ", "bold"), (status["version"], "bold"), "  ")
    line.append("ready" if status["ready"] else f"not ready: {status['reason']}", "green" if status["ready"] else "red")
    for name in ("query", "admin", "grpc"):
        if status[name]:
            line.append(f"   {name} ", "dim").append(status[name])
    return line


def _table(title: str, columns: Iterable[Column], rows: Iterable[Row], width: int, empty: str) -> RenderableType:
    rows = list(rows)
    if not rows:
        return Padding(Text(empty, "dim"), (0, 0, 1, 0))
    shown = [column for column in columns if width >= column.from_width]
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in shown:
        table.add_column(column.title, justify=column.justify, overflow="fold")
    for row in rows:
        table.add_row(*(column.cell(row) for column in shown))
    return table


def _reasons(applications: Iterable[Row]) -> Iterable[RenderableType]:
    """Why the default answered, or nothing did, by cause."""
    for app in applications:
        for kind, word, style in (("default", "defaults", "yellow"), ("error", "errors", "red")):
            causes = ", ".join(f"{cause} {n}" for cause, n in _causes(app, kind).items())
            if causes:
                yield Text.assemble((f"{app['name']} ", "bold"), (f"{word}: {causes}", style))


def _rollouts(models: Iterable[Row]) -> Iterable[RenderableType]:
    """How the last canary of each model goes, or went."""
    for model in models:
        rollout = model.get("rollout")
        if rollout is not None:
            name = f"{rollout['model']}:{rollout['version']} "
            what, style = _ROLLOUT_WORDS[rollout["state"]]
            said = f"{what.format(100 * rollout['share'])}{rollout['reason']}"
            yield Text.assemble((name, "bold"), (said, style))


def _scales(versions: Iterable[Row]) -> Iterable[RenderableType]:
    """Why a version that scales by itself has as many replicas as it has."""
    for version in versions:
        if version["replicas"].get("why") and version["wanted"]:
            yield Text.assemble(
                (f"{version['model']}:{version['version']} ", "bold"), f"scaling {version['replicas']['why']}"
            )


def _troubles(versions: Iterable[Row]) -> Iterable[RenderableType]:
    """Why a version is not well, and what its replica said before it died."""
    for version in versions:
        words = (version["last_words"] or "").strip().splitlines()
        if version["state"] != "failed" and not words:
            continue
        reason = version["reason"] or "a replica died"
        yield Text.assemble((f"{version['model']}:{version['version']} ", "bold"), (reason, "red"))
        if words:
            yield Padding(Text("\n".join(words[-LAST_WORDS_LINES:]), "dim"), (0, 0, 1, 4))


def _key(name: str) -> Callable[[Row], Text]:
    return lambda row: Text(_shown(row[name]))


def _measured(name: str, unit: str = "") -> Callable[[Row], Text]:
    return lambda row: Text(_shown((row["measured"] or {}).get(name), unit))


def _shown(value: Any, unit: str = "") -> str:
    if value is None or value in ("", []):
        return NOTHING
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}{unit}" if isinstance(value, float) else f"{value}{unit}"


def _outcomes(kind: str, style: str) -> Callable[[Row], Text]:
    """The number of outcomes of a kind, of all causes."""

    def cell(row: Row) -> Text:
        count = sum(_causes(row, kind).values())
        return Text(str(count), style if count else "dim")

    return cell


def _causes(application: Row, kind: str) -> dict[str, int]:
    """Outcomes of a kind, by cause."""
    total = application["measured"]["total"]
    return {key.partition(":")[2]: n for key, n in total.items() if key.partition(":")[0] == kind}


def _state(row: Row) -> Text:
    text = Text(row["state"], _STATE_STYLES.get(row["state"], "dim"))
    if row.get("current"):
        text.append(" (current)", "bold")
    elif row.get("target"):
        text.append(" (next)", "bold yellow")
    elif row.get("on_trial"):
        text.append(" (canary)", "bold yellow")
    return text


def _replicas(row: Row) -> Text:
    ready, wanted = row["replicas"]["ready"], row["replicas"]["wanted"]
    bounds = row["replicas"].get("bounds")
    within = f" ({bounds['min']}-{bounds['max']})" if bounds else ""
    return Text(f"{ready}/{wanted}{within}", "yellow" if ready < wanted else "")


def _batching(row: Row) -> Text:
    batching = row["batching"]
    return Text(f"fixed:{batching['size']}" if batching["policy"] == "fixed" else batching["policy"])


def _hit_rate(row: Row) -> Text:
    rate = (row["measured"] or {}).get("cache_hit_rate")
    return Text(NOTHING if rate is None else f"{rate:.1%}")


def _weight(row: Row) -> Text:
    return Text(NOTHING if row["weight"] is None else f"{row['weight']:.4f}")


def _bar(row: Row) -> Text:
    return Text("█" * round((row["weight"] or 0.0) * FULL_BAR_CHARS), "cyan")


_APPLICATION_COLUMNS = (
    Column("Application", _key("name")),
    Column("Policy", lambda row: Text(row["policy"]["name"]), 90),
    Column("Models", _key("models")),
    Column("Input", _key("input_type"), 110),
    Column("SLO ms", _key("slo_ms"), 60, "right"),
    Column("qps", _measured("qps"), justify="right"),
    Column("P50 ms", _measured("p50_ms"), 70, "right"),
    Column("P99 ms", _measured("p99_ms"), justify="right"),
    Column("Answered", _outcomes("answered", ""), 100, "right"),
    Column("Defaults", _outcomes("default", "yellow"), 80, "right"),
    Column("Errors", _outcomes("error", "red"), 80, "right"),
)
_VERSION_COLUMNS = (
    Column("Model", lambda row: Text(f"{row['model']}:{row['version']}")),
    Column("State", _state),
    Column("Replicas", _replicas, justify="right"),
    Column("Flavor", _key("flavor"), 100),
    Column("Input", _key("input_type"), 110),
    Column("Batching", _batching, 80),
    Column("Mean batch", _measured("mean_batch"), 70, "right"),
    Column("Cache hits", _hit_rate, 70, "right"),
    Column("Model P99 ms", _measured("model_p99_ms"), 110, "right"),
    Column("Queue P99 ms", _measured("queue_p99_ms"), 130, "right"),
    Column("Restarts", _key("restarts"), 100, "right"),
)
_REPLICA_COLUMNS = (
    Column("Replica", _key("replica_id")),
    Column("Model", lambda row: Text(f"{row['model']}:{row['version']}"), 60),
    Column("State", _state),
    Column("pid", _key("pid"), 60, "right"),
    Column("Restarts", _key("restarts"), 80, "right"),
    Column("Why", _key("reason"), 90),
)
_WEIGHT_COLUMNS = (
    Column("Model", lambda row: Text(f"{row['model']}:{row['version']}" if row["version"] else row["model"])),
    Column("Weight", _weight, justify="right"),
    Column("", _bar),
    Column("Probability", _key("probability"), justify="right"),
    Column("Counted feedbacks", _key("plays"), justify="right"),
    Column("Mean loss", _key("mean_loss"), justify="right"),
)
