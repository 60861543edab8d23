"""The command line's commands, put together."""

from typing import Annotated

import typer

from clipper.cli import (
    applications,
    applying,
    bench,
    building,
    feedback,
    models,
    policies,
    queries,
    registering,
    rollouts,
    status,
    up,
    users,
)
from clipper.cli import weights as weights_command
from clipper.cli.outcome import Commands
from clipper.cli.target import admin_url
from clipper_container.version import __version__

app = typer.Typer(
    name="clipper",
    cls=Commands,
    help="Serve machine-learning models under a latency objective.",
    epilog="CLIPPER_URL names the server's admin address (http://127.0.0.1:1338), CLIPPER_ADMIN_TOKEN its token.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"clipper {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    url: Annotated[
        str | None, typer.Option(envvar="CLIPPER_URL", help="The admin address.", show_envvar=True, metavar="URL")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    admin_url.set(url)


app.command("up")(up.up)
app.command("apply")(applying.apply)
app.command("deploy")(models.deploy)
app.command("register")(registering.register)
app.command("build")(building.build)
app.add_typer(applications.app, name="app")
app.command("link")(applications.link)
app.command("unlink")(applications.unlink)
app.command("promote")(rollouts.promote)
app.command("rollback")(rollouts.rollback)
app.command("scale")(models.scale)
app.command("stop")(models.stop)
app.command("rm")(models.remove)
app.command("status")(status.status)
app.command("logs")(models.logs)
app.command("predict")(queries.predict)
app.command("update", context_settings={"ignore_unknown_options": True})(queries.update)  # a label may be -1
app.command("weights")(weights_command.weights)
app.add_typer(feedback.app, name="feedback")
app.add_typer(policies.app, name="policy")
app.add_typer(users.app, name="uid")
app.add_typer(bench.app, name="bench")


def run() -> int:
    """Run the command line; returns the exit code."""
    outcome = app(standalone_mode=True)
    return int(outcome or 0)
