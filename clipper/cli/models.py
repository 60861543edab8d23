"""``clipper deploy``, ``promote``, ``scale``, ``stop``, ``rm``, ``logs``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from clipper.cli.outcome import BadUsage
from clipper.cli.target import connection, model_and_version, parse_json

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
ModelOrVersion = Annotated[str, typer.Argument(metavar="MODEL[:VERSION]", help="A model, or one version of it.")]


def deploy(
    name: Annotated[str, typer.Argument(help="The model's name; a new one creates the model.")],
    version: Annotated[str, typer.Argument(help="The version's name.")],
    path: Annotated[
        Path | None,
        typer.Argument(
            help="What was saved: .pkl, .joblib, .pt2, .pt, .keras, .onnx, a SavedModel or MLflow directory; "
            "a .py that defines predict(batch); or a packaged directory."
        ),
    ] = None,
    flavor: Annotated[
        str | None,
        typer.Option(help="sklearn, torch, tensorflow, onnx, mlflow, python or noop, if it is not recognised."),
    ] = None,
    input_type: Annotated[
        str | None, typer.Option(help="doubles (estimators' default), floats, integers, strings, bytes or json.")
    ] = None,
    replicas: Annotated[int, typer.Option(help="How many replicas to run.")] = 1,
    batching: Annotated[str, typer.Option(help="deadline, none, fixed:N, aimd or quantile.")] = "deadline",
    method: Annotated[str | None, typer.Option(help="predict or predict_proba, of estimators.")] = None,
    example: Annotated[str | None, typer.Option(metavar="JSON", help="One input to warm up with.")] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What pip shall install for it; by default a requirements.txt beside it."),
    ] = None,
    promote: Annotated[bool, typer.Option(help="Give it the traffic as soon as it is ready.")] = True,
    wait: Annotated[bool, typer.Option(help="Wait until it is ready.")] = True,
    timeout_s: Annotated[float, typer.Option(help="How long to wait.")] = 600.0,
) -> None:
    """Deploy a version of a model, and wait until it serves."""
    if path is None and flavor != "noop":
        raise BadUsage("PATH is missing: the saved model to deploy. Only '--flavor noop' does without.")
    from clipper.cli.progress import watching  # noqa: PLC0415 (so that --help does not wait for it)

    options: dict[str, Any] = {"flavor": flavor, "method": method, "input_type": input_type}
    if requirements is not None:
        options["requirements"] = requirements
    if example is not None:
        options["example_input"] = parse_json(example, "--example")
    with connection() as cl, watching(f"{name}:{version}") as on_progress:
        info = cl.deploy_model(
            name,
            version,
            path,
            num_replicas=replicas,
            batching=batching,
            promote=promote,
            wait=wait,
            timeout_s=timeout_s,
            on_progress=on_progress,
            **options,
        )
    typer.echo(_deployed(info))


def _deployed(info: dict[str, Any]) -> str:
    name = f"{info['model']}:{info['version']}"
    if info["current"]:
        count = info["replicas"]["wanted"]
        return f"{name} is ready and has the traffic ({count} replica{'s' if count != 1 else ''})."
    if info["state"] == "ready":
        return (
            f"{name} is ready, without traffic. Give it the traffic: clipper promote {info['model']} {info['version']}"
        )
    return f"{name} is {info['state']}. See how far it is: clipper status"


def promote(model: ModelName, version: Annotated[str, typer.Argument(help="The version's name.")]) -> None:
    """Give a version the traffic: roll forward, or back."""
    with connection() as cl:
        cl.set_model_version(model, version)
        info = cl.get_model_info(model, version)
    when = "" if info["current"] else f" as soon as it is ready (it is {info['state']})"
    typer.echo(f"{model}:{version} has the traffic{when}.")


def scale(model: ModelOrVersion, replicas: Annotated[int, typer.Argument(metavar="N", help="How many.")]) -> None:
    """Set the number of replicas, of the current version if none is named."""
    name, version = model_and_version(model)
    with connection() as cl:
        cl.set_num_replicas(name, replicas, version=version)
    typer.echo(f"{model} is to have {replicas} replica{'s' if replicas != 1 else ''}.")


def stop(model: ModelOrVersion) -> None:
    """Stop a version, or every version of a model; promoting a version starts it again."""
    name, version = model_and_version(model)
    with connection() as cl:
        if version is None:
            cl.stop_models([name])
        else:
            cl.stop_versioned_models({name: [version]})
    typer.echo(f"{model} stops.")


def remove(model: ModelOrVersion) -> None:
    """Stop and forget a version, or a model with all its versions."""
    name, version = model_and_version(model)
    with connection() as cl:
        cl.delete_model(name, version)
    typer.echo(f"{model} is removed.")


def logs(
    replica: Annotated[str, typer.Argument(metavar="REPLICA|MODEL", help="A replica, or a model with all of them.")],
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines of each replica.")] = 200,
) -> None:
    """Print what a replica, or every replica of a model, wrote last."""
    with connection() as cl:
        typer.echo(cl.get_logs(replica, lines=lines))
