"""``clipper predict``, ``clipper update``."""

import dataclasses
import json
from typing import Annotated

import typer

from clipper.cli.outcome import BadUsage
from clipper.cli.target import connection, parse_json

AppName = Annotated[str, typer.Argument(metavar="APP", help="The application's name.")]


def predict(
    app: AppName,
    value: Annotated[str, typer.Argument(metavar="JSON", help="The input: '[1, 2, 3]', '\"text\"', ...")],
    explain: Annotated[bool, typer.Option("--explain", help="Show the decision behind the answer.")] = False,
    version: Annotated[str | None, typer.Option(help="Force a version of the model.")] = None,
    timeout_ms: Annotated[float | None, typer.Option(help="Shorter than the application's SLO.")] = None,
    uid: Annotated[str | None, typer.Option(help="The user on whose behalf it is asked.")] = None,
) -> None:
    """Send one query and print the answer as JSON."""
    x = parse_json(value, "The input")
    with connection() as cl:
        answer = cl.predict(app, x, explain=explain, version=version, timeout_ms=timeout_ms, uid=uid)
    body = {name: field for name, field in dataclasses.asdict(answer).items() if field is not None or name == "output"}
    typer.echo(json.dumps(body, indent=2 if explain else None))


def update(
    app: AppName,
    answer: Annotated[
        list[str],
        typer.Argument(metavar="[QUERY_ID] LABEL", help="Of the answer, and what it should have been, as JSON."),
    ],
    value: Annotated[
        str | None, typer.Option("--input", metavar="JSON", help="The input, where there is no QUERY_ID.")
    ] = None,
    uid: Annotated[str | None, typer.Option(help="With --input: whose it was.")] = None,
    update_id: Annotated[str | None, typer.Option(help="With --input: the same one counts once.")] = None,
) -> None:
    """Tell an application what an answer should have been."""
    query_id = _query_id(answer, has_input=value is not None)
    if value is None and (uid is not None or update_id is not None):
        raise BadUsage("--uid and --update-id go with --input; a QUERY_ID says it all by itself.")
    label = parse_json(answer[-1], "LABEL")
    x = None if value is None else parse_json(value, "--input")
    with connection() as cl:
        accepted = cl.update(app, query_id=query_id, input=x, label=label, uid=uid, update_id=update_id)
    typer.echo(f"Accepted: {accepted}.")


def _query_id(answer: list[str], *, has_input: bool) -> str | None:
    wanted = 1 if has_input else 2
    if len(answer) != wanted:
        usage = "APP LABEL --input JSON" if has_input else "APP QUERY_ID LABEL, or APP LABEL --input JSON"
        raise BadUsage(f"Usage: clipper update {usage}; {len(answer)} came after APP where {wanted} would be right.")
    return None if has_input else answer[0]
