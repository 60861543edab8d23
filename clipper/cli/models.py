"""``clipper deploy``, ``scale``, ``stop``, ``rm``, ``logs``."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from clipper.cli.outcome import BadUsage
from clipper.cli.rollouts import Canary
from clipper.cli.target import connection, model_and_version, parse_json
from clipper.cli.tensors import Inputs, Outputs

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
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Instead of PATH: an image that clipper build made (Docker).")
    ] = None,
    flavor: Annotated[
        str | None,
        typer.Option(help="sklearn, torch, tensorflow, onnx, mlflow, python or noop, if it is not recognised."),
    ] = None,
    input_type: Annotated[
        str | None,
        typer.Option(help="doubles (estimators' default), floats, integers, strings, bytes, json or tensors."),
    ] = None,
    inputs: Inputs = None,
    outputs: Outputs = None,
    replicas: Annotated[
        str, typer.Option(metavar="N|MIN-MAX", help="How many replicas to run; a range scales by itself: 1-8.")
    ] = "1",
    batching: Annotated[str, typer.Option(help="deadline, none, fixed:N, aimd or quantile.")] = "deadline",
    method: Annotated[str | None, typer.Option(help="predict or predict_proba, of estimators.")] = None,
    example: Annotated[str | None, typer.Option(metavar="JSON", help="One input to warm up with.")] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What pip shall install for it; by default a requirements.txt beside it."),
    ] = None,
    promote: Annotated[bool, typer.Option(help="Give it the traffic as soon as it is ready.")] = True,
    canary: Canary = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is ready.")] = True,
    timeout_s: Annotated[float, typer.Option(help="How long to wait.")] = 600.0,
) -> None:
    """Deploy a version of a model, and wait until it serves."""
    if image is not None and path is not None:
        raise BadUsage("A model is either at PATH or in --image, not both.")
    if image is None and path is None and flavor != "noop":
        raise BadUsage("PATH is missing: the saved model to deploy. Only '--image' and '--flavor noop' do without.")
    check_replicas(replicas)
    from clipper.cli.progress import watching  # noqa: PLC0415 (so that --help does not wait for it)

    options: dict[str, Any] = {"flavor": flavor, "method": method, "input_type": input_type}
    options |= {"inputs": inputs or (), "outputs": outputs or ()}
    if requirements is not None:
        options["requirements"] = requirements
    if example is not None:
        options["example_input"] = parse_json(example, "--example")
    with connection() as cl, watching(f"{name}:{version}") as on_progress:
        info = cl.deploy_model(
            name,
            version,
            path if image is None else f"docker://{image}",
            num_replicas=replicas,
            batching=batching,
            promote=promote,
            canary=canary,
            wait=wait,
            timeout_s=timeout_s,
            on_progress=on_progress,
            **options,
        )
    typer.echo(deployed(info))


def deployed(info: dict[str, Any]) -> str:
    """What has come of a deployment, and what may come next."""
    name = f"{info['model']}:{info['version']}"
    if info["current"]:
        return f"{name} is ready and has the traffic ({_replicas(info['replicas'])})."
    if info["state"] == "ready" and info["on_trial"]:
        return (
            f"{name} is ready and is tried on {100 * info['canary']['share']:.4g}% of the traffic. "
            f"See how it goes: clipper status. To give it all: clipper promote {info['model']} {info['version']}. "
            f"To take it back: clipper rollback {info['model']}"
        )
    if info["state"] == "ready":
        return (
            f"{name} is ready, without traffic. Give it the traffic: clipper promote {info['model']} {info['version']}"
        )
    return f"{name} is {info['state']}. See how far it is: clipper status"


def check_replicas(text: str) -> None:
    """Refuse what is no number of replicas, and no range."""
    if re.fullmatch(r"\d+(-\d+)?", text) is None:
        raise BadUsage(f"How many replicas is a number (3) or a range to scale in (1-8), not '{text}'.")


def _replicas(count: dict[str, Any]) -> str:
    if count["bounds"] is not None:
        return f"{count['bounds']['min']} to {count['bounds']['max']} replicas, as the queries need"
    return f"{count['wanted']} replica{'s' if count['wanted'] != 1 else ''}"


def scale(
    model: ModelOrVersion,
    replicas: Annotated[str, typer.Argument(metavar="N|MIN-MAX", help="How many; a range scales by itself: 1-8.")],
) -> None:
    """Set the number of replicas, of the current version if none is named."""
    name, version = model_and_version(model)
    check_replicas(replicas)
    with connection() as cl:
        cl.set_num_replicas(name, replicas, version=version)
    noun = "replica" if replicas == "1" else "replicas"
    typer.echo(f"{model} is to have {replicas} {noun}{', as the queries need' if '-' in replicas else ''}.")


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
