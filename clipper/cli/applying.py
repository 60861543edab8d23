"""``clipper apply``."""

from pathlib import Path
from typing import Annotated

import typer

from clipper.cli.outcome import BadUsage
from clipper.cli.target import connection


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML with applications, models, links.", exists=True)],
    wait: Annotated[bool, typer.Option(help="Wait until what is deployed is ready.")] = True,
) -> None:
    """Bring the server to what a file says. A second time changes nothing; what the file does not name stays."""
    from clipper.apply import carry_out, load  # noqa: PLC0415 (so that --help does not wait for it)
    from clipper.errors import InvalidRequest  # noqa: PLC0415 (as above)

    try:
        plan = load(file)
    except InvalidRequest as fault:
        raise BadUsage(fault.message) from None
    with connection() as cl:
        for line in carry_out(cl, plan, wait=wait):
            typer.echo(line)
