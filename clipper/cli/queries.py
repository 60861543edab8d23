"""``clipper predict``, ``update``, ``weights``."""

import dataclasses
import json
from typing import Annotated

import typer

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
    query_id: Annotated[str, typer.Argument(metavar="QUERY_ID", help="Of the answer that the label is for.")],
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What it should have been, as JSON.")],
) -> None:
    """Tell an application what an answer should have been."""
    value = parse_json(label, "LABEL")
    with connection() as cl:
        accepted = cl.update(app, query_id=query_id, label=value)
    typer.echo(f"Accepted: {accepted}.")


def weights(app: AppName, uid: Annotated[str | None, typer.Option(help="Of one user.")] = None) -> None:
    """Show how an application's policy chooses among its models."""
    from clipper.cli.tables import console, weights_table  # noqa: PLC0415 (so that --help does not wait for it)

    with connection() as cl:
        selection = cl.get_selection(app, uid=uid)
    console().print(weights_table(selection))
