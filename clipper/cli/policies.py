"""``clipper policy ...``."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipper.cli.outcome import BadUsage, Commands
from clipper.cli.since import parse_time
from clipper.cli.target import connection

if TYPE_CHECKING:
    from clipper.evaluation import Candidate
    from clipper.selection import Policy

app = typer.Typer(cls=Commands, help="Policies: how an application chooses among its models.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps ``evaluate`` a command of its own, although it is the only one."""


@app.command()
def evaluate(
    app_name: Annotated[str, typer.Argument(metavar="APP", help="The application's name.")],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POLICY", help="A policy's name, or 'exp3 eta=.1' with options of its own. Repeat it to compare."
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of every --policy. May be repeated.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From when on: 7d, 12h, 2025-01-31 (UTC).")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Until when; as --since.")] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the choices that are drawn in the replay.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Say what other policies would have earned, from the feedback log: a policy is chosen before switching to it.

    Without --policy every built-in one is tried. The current policy and each model alone are always among them.
    """
    from clipper.cli.feedback_tables import evaluation_view  # noqa: PLC0415 (so that --help does not wait for it)
    from clipper.cli.log import counting, read_log  # noqa: PLC0415 (as above)
    from clipper.cli.tables import console  # noqa: PLC0415 (as above)
    from clipper.evaluation import Evaluation  # noqa: PLC0415 (as above)

    begin, end = parse_time(since, "--since"), parse_time(until, "--until")
    with connection() as cl:
        info = cl.get_app_info(app_name)
        candidates = _candidates(info, _wanted(policy or [], option or []), seed)
        evaluation = Evaluation(info["models"], candidates, confidence)
        with counting(read_log(cl, app_name, begin, end)) as records:
            for record in records:
                evaluation.add(record)
    result = evaluation.result()
    if as_json:
        import msgspec  # noqa: PLC0415 (as above)

        typer.echo(json.dumps(msgspec.to_builtins(result), indent=2))
    else:
        console().print(evaluation_view(app_name, result))


def _wanted(policies: Sequence[str], options: Sequence[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label -> name and options, of what was typed."""
    if options and not policies:
        raise BadUsage("--option belongs to a --policy, and none is given.")
    common = dict(_option(text) for text in options)
    wanted: dict[str, tuple[str, dict[str, Any]]] = {}
    for text in policies:
        words = text.split()
        if not words:
            raise BadUsage("--policy names a policy; it is empty.")
        own = dict(_option(word) for word in words[1:])
        wanted[" ".join(words)] = words[0], common | own
    return wanted


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BadUsage(f"An option of a policy is written NAME=VALUE, as in eta=0.1; '{text}' is not.")
    try:
        return name, json.loads(f"0{value}" if value.startswith(".") else value)
    except ValueError:
        return name, value


def _candidates(
    info: Mapping[str, Any], wanted: Mapping[str, tuple[str, dict[str, Any]]], seed: int
) -> "list[Candidate]":
    from random import Random  # noqa: PLC0415 (as below)

    from clipper.evaluation import Fallback, adaptive, always  # noqa: PLC0415 (so that --help does not wait for it)
    from clipper.selection import Loss, policy_named  # noqa: PLC0415 (as above)

    current = info["policy"]
    policies: dict[str, Policy] = {}
    if current["name"] != "single":
        policies[f"{current['name']} (current)"] = policy_named(current["name"], current["options"])
    for label, (name, options) in (wanted or _built_in(but=current)).items():
        if name == "single":
            raise BadUsage("'single' is one model for ever: each model alone is among the rows anyway.")
        policies[label] = policy_named(name, options)
    loss = Loss(info["loss"], *info["loss_range"])
    fallback = None
    if info.get("min_confidence") is not None and "default_output" in info:
        fallback = Fallback(info["min_confidence"], info["default_output"])
    learning = [
        # The same luck for all of them.
        adaptive(label, policy, loss=loss, draw=Random(seed).random, fallback=fallback)  # noqa: S311 (a replay)
        for label, policy in policies.items()
    ]
    return [*learning, *(always(model) for model in info["models"])]


def _built_in(but: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every policy that learns and needs no options, except one that is there already."""
    names = ("epsilon_greedy", "ucb1", "thompson", "exp3", "exp4", "majority", "average")
    return {name: (name, {}) for name in names if (name, {}) != (but["name"], but["options"])}
