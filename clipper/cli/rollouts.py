"""``clipper promote`` and ``clipper rollback``."""

from typing import Annotated

import typer

from clipper.cli.target import connection

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Canary = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="Try it on this share of the traffic first, such as 5%; then it wins or goes."),
]


def promote(
    model: ModelName, version: Annotated[str, typer.Argument(help="The version's name.")], canary: Canary = None
) -> None:
    """Give a version the traffic: roll forward, or back. A canary that runs is over with it."""
    with connection() as cl:
        cl.set_model_version(model, version, canary=canary)
        info = cl.get_model_info(model, version)
    when = "" if info["current"] else f" as soon as it is ready (it is {info['state']})"
    part = f"is tried on {canary} of the traffic" if canary is not None else "has the traffic"
    typer.echo(f"{model}:{version} {part}{when if canary is None or info['state'] != 'ready' else ''}.")


def rollback(model: ModelName) -> None:
    """Return to the version before: end a canary, or take the last promotion back."""
    with connection() as cl:
        version = cl.roll_back(model)
        info = cl.get_model_info(model, version)
    when = "" if info["current"] else f" as soon as it is ready (it is {info['state']})"
    typer.echo(f"{model}:{version} has the traffic{when}.")
