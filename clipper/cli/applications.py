"""``clipper app ...``, ``clipper link``, ``clipper unlink``."""

import json
from typing import Annotated, Any

import typer

from clipper.cli.outcome import BadUsage, Commands
from clipper.cli.target import connection, parse_json
from clipper.cli.tensors import Inputs, Outputs

app = typer.Typer(cls=Commands, help="Applications: what is queried.", no_args_is_help=True)

AppName = Annotated[str, typer.Argument(metavar="APP", help="The application's name.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and dashes.")],
    input_type: Annotated[str, typer.Option(help="doubles, floats, integers, strings, bytes, json or tensors.")],
    slo_ms: Annotated[float, typer.Option(help="The latency that every answer keeps.")],
    inputs: Inputs = None,
    outputs: Outputs = None,
    default: Annotated[
        str | None, typer.Option(metavar="JSON", help="The output where no model can answer in time.")
    ] = None,
    policy: Annotated[str, typer.Option(help="How a model is chosen, or how several are combined.")] = "single",
    policy_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=JSON", help="An option of the policy, such as eta=0.1.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model to link; may be given several times.")] = None,
    min_confidence: Annotated[
        float | None, typer.Option(help="Below it the default answers instead of an ensemble, 0 to 1.")
    ] = None,
    loss: Annotated[str | None, typer.Option(help="zero_one, squared or absolute.")] = None,
    loss_range: Annotated[
        tuple[float, float] | None, typer.Option(help="Squared or absolute errors that count as 0 and as 1.")
    ] = None,
    log_inputs: Annotated[
        str | None, typer.Option(help="What the feedback log keeps of inputs: none, digest or full.")
    ] = None,
) -> None:
    """Register an application."""
    options: dict[str, Any] = {}
    if default is not None:
        options["default_output"] = parse_json(default, "--default")
    with connection() as cl:
        cl.register_application(
            name,
            input_type=input_type,  # type: ignore[arg-type]  # the server says which there are
            slo_ms=slo_ms,
            inputs=inputs or (),
            outputs=outputs or (),
            policy={"name": policy, "options": dict(map(_policy_option, policy_option))} if policy_option else policy,
            models=model or (),
            min_confidence=min_confidence,
            loss=loss,
            loss_range=loss_range,
            log_inputs=log_inputs,
            **options,
        )
        queries = cl.get_status()["query"]
    linked = f", answered by {', '.join(model)}" if model else "; link a model to it: clipper link"
    typer.echo(f"Application '{name}' takes queries at {queries}/{name}/predict{linked}.")


def _policy_option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BadUsage(f"--policy-option is NAME=JSON, such as eta=0.1; {text!r} is not.")
    return name, parse_json(value, f"--policy-option {name}")


@app.command("ls")
def list_() -> None:
    """List the applications."""
    from clipper.cli.tables import applications_table, console  # noqa: PLC0415 (so that --help does not wait for it)

    with connection() as cl:
        status = cl.get_status()
    out = console()
    out.print(applications_table(status["applications"], out.width))


@app.command()
def show(name: AppName) -> None:
    """Show one application as JSON."""
    with connection() as cl:
        typer.echo(json.dumps(cl.get_app_info(name), indent=2))


@app.command("rm")
def remove(name: AppName) -> None:
    """Remove an application; its models stay."""
    with connection() as cl:
        cl.unregister_application(name)
    typer.echo(f"Application '{name}' is removed.")


def link(app_name: AppName, model: ModelName) -> None:
    """Let a model answer for an application."""
    with connection() as cl:
        cl.link_model_to_app(app_name, model)
    typer.echo(f"Model '{model}' answers for application '{app_name}'.")


def unlink(app_name: AppName, model: ModelName) -> None:
    """Let a model no longer answer for an application."""
    with connection() as cl:
        cl.unlink_model_from_app(app_name, model)
    typer.echo(f"Model '{model}' no longer answers for application '{app_name}'.")
