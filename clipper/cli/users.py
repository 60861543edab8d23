"""``clipper uid ...``."""

from typing import Annotated

import typer

from clipper.cli.outcome import BadUsage, Commands
from clipper.cli.target import connection

app = typer.Typer(cls=Commands, help="Users, as queries name them by 'uid'.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps ``erase`` a command of its own, although it is the only one."""


@app.command()
def erase(
    uid: Annotated[str, typer.Argument(metavar="UID", help="The user, as in queries and feedback.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a person from what was learnt and from the feedback log, in every application. Nothing brings it back."""
    import sys  # noqa: PLC0415 (only this asks)

    if not yes:
        if not sys.stdin.isatty():
            raise BadUsage(f"This removes everything about '{uid}' for good. To say so without being asked: --yes.")
        typer.confirm(f"Remove everything about '{uid}' for good?", abort=True)
    with connection() as cl:
        count = cl.erase_user(uid)
    typer.echo(f"'{uid}' is erased: {count} record{'s' if count != 1 else ''} of feedback.")
