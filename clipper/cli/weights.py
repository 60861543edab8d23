"""``clipper weights``."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipper.cli.outcome import BadUsage
from clipper.cli.since import parse_time
from clipper.cli.target import connection

if TYPE_CHECKING:
    from clipper.client import Connection

SHORTEST_INTERVAL_S = 0.1


def weights(
    app: Annotated[str, typer.Argument(metavar="APP", help="The application's name.")],
    uid: Annotated[str | None, typer.Option(help="Of one user.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing them, until Ctrl-C.")] = False,
    interval_s: Annotated[float, typer.Option(min=SHORTEST_INTERVAL_S, help="Between two looks, with --watch.")] = 1.0,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw weights and mean losses over time, from the feedback log (.png, .svg)."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Where the picture begins: 7d, 12h, 2025-01-31.")
    ] = None,
) -> None:
    """Show how an application's policy chooses among its models, or weighs them."""
    if plot is not None and watch:
        raise BadUsage("--plot draws what was; --watch shows what is. Give one of them.")
    if plot is None and since is not None:
        raise BadUsage("--since belongs to --plot: the table shows the weights as they are now.")
    with connection() as cl:
        if plot is not None:
            _plot(cl, app, uid, plot, since)
        elif watch:
            _watch(cl, app, uid, interval_s)
        else:
            _show(cl, app, uid)


def _show(cl: "Connection", app: str, uid: str | None) -> None:
    from clipper.cli.tables import console, weights_table  # noqa: PLC0415 (so that --help does not wait for it)

    console().print(weights_table(cl.get_selection(app, uid=uid)))


def _watch(cl: "Connection", app: str, uid: str | None, interval_s: float) -> None:
    import time  # noqa: PLC0415 (as below)

    from rich.live import Live  # noqa: PLC0415 (so that --help does not wait for it)

    from clipper.cli.tables import console, weights_table  # noqa: PLC0415 (as above)

    first = weights_table(cl.get_selection(app, uid=uid))
    # Ctrl-C is how one stops looking: no failure.
    with suppress(KeyboardInterrupt), Live(first, console=console(), auto_refresh=False) as live:
        while True:
            time.sleep(interval_s)
            live.update(weights_table(cl.get_selection(app, uid=uid)), refresh=True)


def _plot(cl: "Connection", app: str, uid: str | None, path: Path, since: str | None) -> None:
    from clipper.cli.log import counting, read_log  # noqa: PLC0415 (so that --help does not wait for it)
    from clipper.cli.plot import draw_history, require_matplotlib  # noqa: PLC0415 (as above)
    from clipper.evaluation import History  # noqa: PLC0415 (as above)
    from clipper.selection import policy_named  # noqa: PLC0415 (as above)

    require_matplotlib(path)
    info = cl.get_app_info(app)
    policy = policy_named(info["policy"]["name"], info["policy"]["options"])
    history = History(policy, info["models"], uid)
    with counting(read_log(cl, app, parse_time(since, "--since"))) as records:
        for record in records:
            history.add(record)
    if not history.points:
        whose = f" of '{uid}'" if uid is not None else ""
        raise BadUsage(f"There is nothing to draw: the log of '{app}' has no feedback{whose} in that time.")
    draw_history(history, f"{app}: {policy.name}" + (f" for {uid}" if uid is not None else ""), path)
    typer.echo(f"Written to {path}.")
