"""``clipper register``."""

from pathlib import Path
from typing import Annotated

import typer

from clipper.cli.models import check_replicas, deployed
from clipper.cli.outcome import BadUsage
from clipper.cli.rollouts import Canary
from clipper.cli.target import connection
from clipper.cli.tensors import Inputs, Outputs


def register(
    name: Annotated[str, typer.Argument(help="The model's name; a new one creates the model.")],
    version: Annotated[str, typer.Argument(help="The version's name.")],
    address: Annotated[
        str,
        typer.Argument(
            help="Where it listens: tcp:host:port or unix:/path of a container, grpc://host:port/model of a model "
            "behind a server of the Open Inference Protocol."
        ),
    ],
    input_type: Annotated[
        str, typer.Option(help="doubles, floats, integers, strings, bytes, json or tensors: what it takes.")
    ] = "doubles",
    inputs: Inputs = None,
    outputs: Outputs = None,
    replicas: Annotated[
        str,
        typer.Option(metavar="N|MIN-MAX", help="How many requests such a server gets at a time; not of containers."),
    ] = "1",
    secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The secret that the container was started with.")
    ] = None,
    batching: Annotated[str, typer.Option(help="deadline, none, fixed:N, aimd or quantile.")] = "deadline",
    promote: Annotated[bool, typer.Option(help="Give it the traffic as soon as it is ready.")] = True,
    canary: Canary = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is ready.")] = True,
    timeout_s: Annotated[float, typer.Option(help="How long to wait.")] = 60.0,
) -> None:
    """Serve a version by what runs already: a container, or a model behind Triton, MLServer or KServe."""
    check_replicas(replicas)
    from clipper.cli.progress import watching  # noqa: PLC0415 (so that --help does not wait for it)

    secret = None if secret_file is None else _secret(secret_file)
    with connection() as cl, watching(f"{name}:{version}") as on_progress:
        info = cl.register_model(
            name,
            version,
            address,
            num_replicas=replicas,
            input_type=input_type,  # type: ignore[arg-type]  # the server says which there are
            inputs=inputs or (),
            outputs=outputs or (),
            secret=secret,
            batching=batching,
            promote=promote,
            canary=canary,
            wait=wait,
            timeout_s=timeout_s,
            on_progress=on_progress,
        )
    typer.echo(deployed(info))


def _secret(file: Path) -> str:
    """As the container reads it: without the line's end."""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"--secret-file {file} cannot be read: {error}.") from None
