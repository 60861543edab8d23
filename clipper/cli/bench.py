"""``clipper bench ...``."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import typer

from clipper.cli.outcome import BadUsage, Commands
from clipper.cli.target import connection

if TYPE_CHECKING:
    from clipper.client import Connection
    from clipper.loadgen import InputSource, Plan, Summary, Target
    from clipper.loadgen.tally import Measured

app = typer.Typer(cls=Commands, help="Benchmarks: what a deployment can do.", no_args_is_help=True)

# Written out here as well, so that --help need not load the generator.
Arrivals = Literal["poisson", "uniform", "bursty"]
Protocol = Literal["rest", "oip", "grpc"]
DEFAULT_RATE_QPS = 1000.0
OPEN_LOOP_CONNECTIONS = 1024
CLOSED_LOOP_CALLERS = 64
WIDTH_IF_UNKNOWN = 10


@app.callback()
def _group() -> None:
    """Keeps ``load`` a command of its own, although it is the only one."""


@app.command()
def load(
    app_name: Annotated[str, typer.Argument(metavar="APP", help="The application's name.")],
    rate: Annotated[float | None, typer.Option(metavar="QPS", help="Queries a second. Default: 1000.")] = None,
    duration: Annotated[float, typer.Option(metavar="SECONDS", help="For how long queries come.")] = 10.0,
    arrivals: Annotated[
        str, typer.Option(help="How they come: poisson, uniform or bursty.", metavar="KIND")
    ] = "poisson",
    protocol: Annotated[str, typer.Option(help="By which they come: rest, oip or grpc.", metavar="NAME")] = "rest",
    stream: Annotated[
        bool, typer.Option("--stream", help="With --protocol grpc: one stream, not a call for each query.")
    ] = False,
    closed: Annotated[
        bool, typer.Option("--closed", help="A closed loop: callers that each wait for their answer.")
    ] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(metavar="N", help="Callers of a closed loop (64); most connections of an open one (1024)."),
    ] = None,
    processes: Annotated[int, typer.Option(metavar="N", help="Processes of the generator, to use more cores.")] = 1,
    distinct: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="So many different inputs. Default: none comes twice.")
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Inputs: .jsonl, one to a line, or the rows of an .npy.")
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Numbers to a drawn input. Default: as the model takes, or 10."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of arrivals and drawn inputs: the same load again.")] = 0,
    slo_ms: Annotated[
        float | None, typer.Option(metavar="MS", help="What goodput is counted against. Default: the application's.")
    ] = None,
    timeout_ms: Annotated[float, typer.Option(metavar="MS", help="When a caller gives up.")] = 10_000.0,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the run there: .png, .svg or .pdf.")] = None,
) -> None:
    """Ask an application as its users would, and say what they would get.

    Queries go when they are due, answered or not those before them (an open loop), and latency counts from then: a
    server that stalls cannot hide it. Ctrl-C ends the run and shows what was measured.
    """
    from clipper.loadgen import InputSource, Plan  # noqa: PLC0415 (so that --help does not wait for it)

    if closed and rate is not None:
        raise BadUsage(
            "--rate is of an open loop; with --closed, --concurrency callers ask as fast as they are answered."
        )
    _check_choice("--arrivals", arrivals, get_args(Arrivals))
    _check_choice("--protocol", protocol, get_args(Protocol))
    if stream and protocol != "grpc":
        raise BadUsage(f"--stream is of --protocol grpc, not of '{protocol}'.")
    _check_files(json_file, plot)
    with connection() as cl:
        info = cl.get_app_info(app_name)
        target = _target(cl, app_name, protocol, stream)
        source = InputSource(
            input_type=info["input_type"],
            width=width or _width(cl, info),
            distinct=distinct,
            file=None if inputs is None else str(inputs),
        )
    plan = Plan(
        duration_s=duration,
        rate_qps=None if closed else _or(rate, DEFAULT_RATE_QPS),
        arrivals=arrivals,  # type: ignore[arg-type]  # checked above
        connections=_or(concurrency, max(processes, CLOSED_LOOP_CALLERS if closed else OPEN_LOOP_CONNECTIONS)),
        timeout_s=timeout_ms / 1e3,
        slo_s=_or(slo_ms, info["slo_ms"]) / 1e3,
        seed=seed,
        processes=processes,
    )
    _save(_measured(plan, target, source), target, json_file, plot)


def _or(given: float | None, default: float) -> Any:
    """What was given, 0 included: it is for the plan to refuse."""
    return default if given is None else given


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise BadUsage(f"{option} is one of {', '.join(choices)}, not '{value}'.")


def _check_files(json_file: Path | None, plot: Path | None) -> None:
    """Before the run, not after it: a minute's figures are not lost to a typing error."""
    if plot is not None:
        from clipper.cli.plot import require_matplotlib  # noqa: PLC0415 (so that --help does not wait for it)

        require_matplotlib(plot)
    for path in (json_file, plot):
        if path is not None and not path.parent.is_dir():
            raise BadUsage(f"'{path}' cannot be written: there is no directory '{path.parent}'.")


def _target(cl: "Connection", app_name: str, protocol: str, stream: bool) -> "Target":
    from clipper.loadgen import Target  # noqa: PLC0415 (as above)

    if protocol == "grpc":
        address = urlsplit(f"grpc://{cl.session.grpc_address or cl.get_status()['grpc']}")
        if address.hostname is None or address.port is None:
            raise BadUsage("The server has no gRPC address; take --protocol rest.")
        return Target(address.hostname, address.port, app_name, "grpc", stream)
    url = cl.session.query_url or cl.get_status()["query"]
    parts = urlsplit(url or "")
    if parts.scheme != "http" or not parts.hostname:
        raise BadUsage(
            f"The load generator asks an address http://HOST:PORT, and the server's query address is {url!r}."
        )
    return Target(parts.hostname, parts.port or 80, app_name, protocol)  # type: ignore[arg-type]  # checked before


def _width(cl: "Connection", info: dict[str, Any]) -> int:
    """What the application's models take, where one of them has said it."""
    for model in info["models"]:
        for version in cl.get_model_info(model)["versions"]:
            if version["current"] and version["input_width"]:
                return int(version["input_width"])
    return WIDTH_IF_UNKNOWN


def _measured(plan: "Plan", target: "Target", source: "InputSource") -> "Summary":
    """The run, shown while it goes where somebody is looking, and its figures printed."""
    from clipper.cli.load_view import load_view, watching  # noqa: PLC0415 (as above)
    from clipper.cli.tables import console  # noqa: PLC0415 (as above)
    from clipper.loadgen import Summary  # noqa: PLC0415 (as above)

    summary = Summary(plan)
    out = console()
    with watching(out, target, summary) as show:
        asyncio.run(_run(plan, target, source, summary, show))
    out.print(load_view(target, summary))
    return summary


async def _run(
    plan: "Plan", target: "Target", source: "InputSource", summary: "Summary", show: Callable[[], None]
) -> None:
    from clipper.loadgen import run  # noqa: PLC0415 (as above)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_early() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)  # the second Ctrl-C does not wait for anything

    def take(measured: "Measured") -> None:
        summary.add(measured)
        show()

    loop.add_signal_handler(signal.SIGINT, stop_early)
    try:
        await run(plan, target, source, take, stop)
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _save(summary: "Summary", target: "Target", json_file: Path | None, plot: Path | None) -> None:
    import msgspec  # noqa: PLC0415 (as above)

    if json_file is not None:
        asked = {"application": target.application, "protocol": target.protocol, "stream": target.stream}
        of_run = asked | {"plan": summary.plan}
        text = msgspec.json.format(msgspec.json.encode(of_run | summary.to_json()))
        try:
            json_file.write_bytes(text + b"\n")
        except OSError as error:
            raise BadUsage(f"'{json_file}' cannot be written: {error.strerror or error}.") from None
    if plot is not None:
        from clipper.cli.load_picture import draw_load  # noqa: PLC0415 (as above)

        draw_load(summary, target.application, plot)
