"""``clipper feedback ...``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from clipper.cli.outcome import Commands
from clipper.cli.since import parse_time
from clipper.cli.target import connection

app = typer.Typer(
    cls=Commands, help="The log of true labels: what was asked, answered, and right.", no_args_is_help=True
)

AppName = Annotated[str, typer.Argument(metavar="APP", help="The application's name.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="From when on: 7d, 12h, 2025-01-31 (UTC).")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Until when; as --since.")]


@app.command()
def export(
    app_name: AppName,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Ends in .parquet or .jsonl.")],
    since: Since = None,
    until: Until = None,
) -> None:
    """Write the log to a file, one feedback a row. Parquet needs the extra 'export'."""
    from clipper.cli.exporting import export as write  # noqa: PLC0415 (so that --help does not wait for it)
    from clipper.cli.log import counting, read_log  # noqa: PLC0415 (as above)

    begin, end = parse_time(since, "--since"), parse_time(until, "--until")
    with connection() as cl:
        app = cl.get_app_info(app_name)
        with counting(read_log(cl, app_name, begin, end)) as records:
            count = write(records, output, app["input_type"], app.get("inputs", ()))
    typer.echo(f"{count:,} record{'s' if count != 1 else ''} written to {output}.")


@app.command()
def stats(
    app_name: AppName,
    since: Since = None,
    until: Until = None,
    by_hour: Annotated[bool, typer.Option("--by-hour", help="A row for each hour, not each day.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Count what is in the log: losses of models and answers, propensities, agreement, delays, repeats."""
    from clipper.cli.feedback_tables import statistics_view  # noqa: PLC0415 (so that --help does not wait for it)
    from clipper.cli.log import counting, read_log  # noqa: PLC0415 (as above)
    from clipper.cli.tables import console  # noqa: PLC0415 (as above)
    from clipper.evaluation import LogStatistics  # noqa: PLC0415 (as above)

    begin, end = parse_time(since, "--since"), parse_time(until, "--until")
    statistics = LogStatistics("hour" if by_hour else "day")
    with connection() as cl, counting(read_log(cl, app_name, begin, end)) as records:
        for record in records:
            statistics.add(record)
    if as_json:
        typer.echo(json.dumps(statistics.to_json(), indent=2))
    else:
        console().print(statistics_view(app_name, statistics))
