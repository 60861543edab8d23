"""``clipper up``: the server."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipper.cli.outcome import BadUsage

if TYPE_CHECKING:
    from clipper.settings import Settings

Flag = typer.Option(show_default=False)


def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where state, artifacts and logs are kept (.clipper).", file_okay=False)
    ] = None,
    store: Annotated[str | None, typer.Option(help="Where the state is: sqlite, or redis://...")] = None,
    frontends: Annotated[int | None, typer.Option(help="How many frontend processes serve queries (1).")] = None,
    host: Annotated[str | None, typer.Option(help="Where queries are taken, REST and gRPC (127.0.0.1).")] = None,
    admin_host: Annotated[
        str | None, typer.Option(help="Where the admin API listens (127.0.0.1); elsewhere it needs a token.")
    ] = None,
    query_port: Annotated[int | None, typer.Option(help="Of the query REST API (1337); 0 is any free port.")] = None,
    admin_port: Annotated[int | None, typer.Option(help="Of the admin REST API (1338); 0 is any free port.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Of the gRPC API (1339); 0 is any free port.")] = None,
    manager: Annotated[str | None, typer.Option(help="What runs the replicas: process, or docker.")] = None,
    oip_repository: Annotated[
        str | None,
        typer.Option(help="Who may load and unload models over the query ports: admin (by token), or open (anybody)."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML file of settings; flags and CLIPPER_* come first.", exists=True)
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error (info).")] = None,
    temporary_data: Annotated[bool, typer.Option("--temporary-data", hidden=True)] = False,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> None:
    """Run a server in the foreground.

    It prints one line of JSON with its addresses when it is ready, and logs to standard error. SIGTERM or Ctrl-C stops
    it: what was accepted is answered first; a second one stops it at once. Every setting has a CLIPPER_* variable.
    """
    with ExitStack() as stack:
        if temporary_data:
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clipper-")))
        settings = _settings(
            config,
            data_dir=data_dir,
            store=store,
            frontends=frontends,
            host=host,
            admin_host=admin_host,
            query_port=query_port,
            admin_port=admin_port,
            grpc_port=grpc_port,
            manager=manager,
            oip_repository=oip_repository,
            log_level=log_level,
        )
        _refuse_what_is_not_there_yet(settings)
        from clipper.server import run  # noqa: PLC0415 (the whole server: only after the options are known to be good)

        code = run(settings, until_eof=until_eof)
    raise typer.Exit(code)


def _settings(config: Path | None, **flags: Any) -> "Settings":
    from pydantic import ValidationError  # noqa: PLC0415 (slow to import: not for --help)

    from clipper.settings import load  # noqa: PLC0415 (as above)
    from clipper.validation import invalid_request  # noqa: PLC0415 (as above)

    try:
        return load(config, **flags)
    except ValidationError as error:
        raise BadUsage(invalid_request(error, "the settings").message) from None
    except ValueError as error:
        raise BadUsage(f"The settings cannot be read: {error}.") from None


def _refuse_what_is_not_there_yet(settings: "Settings") -> None:
    if settings.store != "sqlite":
        raise BadUsage(f"The store '{settings.store}' is not available yet; use --store sqlite.")
