"""``clipper status``."""

import json
from typing import Annotated

import typer

from clipper.cli.target import connection


def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """Show the server at a glance: applications, versions and their state, replicas, rates, what went wrong last."""
    with connection() as cl:
        body = cl.get_status()
    if as_json:
        typer.echo(json.dumps(body, indent=2))
        return
    from clipper.cli.tables import console, status_view  # noqa: PLC0415 (so that --help does not wait for it)

    out = console()
    out.print(status_view(body, out.width))
