"""``clipper build``: a model in a Docker image of its own."""

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from clipper.cli.outcome import BadUsage
from clipper.cli.target import parse_json
from clipper.cli.tensors import Inputs, Outputs

if TYPE_CHECKING:
    from clipper.packaging import Package


def build(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[str, typer.Argument(help="The version's name.")],
    path: Annotated[Path, typer.Argument(help="What was saved; see clipper deploy.")],
    tag: Annotated[str, typer.Option("--tag", "-t", metavar="IMAGE", help="The image's name.")],
    flavor: Annotated[str | None, typer.Option(help="How to load it, if that is not recognised.")] = None,
    input_type: Annotated[
        str | None,
        typer.Option(help="doubles (estimators' default), floats, integers, strings, bytes, json or tensors."),
    ] = None,
    inputs: Inputs = None,
    outputs: Outputs = None,
    method: Annotated[str | None, typer.Option(help="predict or predict_proba, of estimators.")] = None,
    example: Annotated[str | None, typer.Option(metavar="JSON", help="One input to warm up with.")] = None,
) -> None:
    """Bake a model into an image, on the Docker engine of this host or of DOCKER_HOST; clipper deploy --image runs it.

    What the image is built on is set as for the server: CLIPPER_DOCKER_BASE_IMAGE, CLIPPER_DOCKER_WHEELS,
    CLIPPER_DOCKER_IMAGE_PREFIX.
    """
    from clipper.packaging import package  # noqa: PLC0415 (slow to import: not for --help)

    options: dict[str, Any] = {"flavor": flavor, "input_type": input_type, "method": method}
    options |= {"inputs": inputs or (), "outputs": outputs or ()}
    if example is not None:
        options["example_input"] = parse_json(example, "--example")
    with tempfile.TemporaryDirectory(prefix="clipper-") as directory:
        packaged = package(path, Path(directory), **options)
        asyncio.run(_bake(packaged, name, version, tag))
    typer.echo(tag)


async def _bake(packaged: "Package", name: str, version: str, tag: str) -> None:
    from clipper.control.docker.bake import bake  # noqa: PLC0415 (the server's half: only for this command)
    from clipper.control.docker.engine import connect  # noqa: PLC0415 (as above)
    from clipper.control.docker.images import Images  # noqa: PLC0415 (as above)
    from clipper.control.docker.recipes import Kitchen  # noqa: PLC0415 (as above)
    from clipper.settings import load  # noqa: PLC0415 (as above)

    if packaged.tar is None:
        raise BadUsage("The flavor 'noop' has no model to bake.")
    settings = load()
    engine = await asyncio.to_thread(connect)
    console = Console(stderr=True, highlight=False)
    try:
        kitchen = Kitchen(settings.docker_base_image, settings.docker_wheels)
        images = Images(engine, kitchen, settings.docker_image_prefix)
        await bake(
            images,
            packaged.tar,
            name=name,
            version=version,
            tag=tag,
            tell=lambda doing: console.print(doing, soft_wrap=True, markup=False),
        )
    finally:
        engine.close()
