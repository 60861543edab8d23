"""Throughput of the Open Inference Protocol over REST: one FP32 tensor in JSON and in binary, with a no-op model.

Beside it the same numbers by Clipper's own protocol, and MLServer where it is installed (`--mlserver PATH` names its
command, in an environment of its own perhaps; it takes JSON only). Every request is a new one: nothing comes from the
cache. The table has the median of the rounds. Run: `python benchmarks/oip.py`, or with `--quick` for a look.
"""

import argparse
from collections import defaultdict
from shutil import which
from statistics import median
from typing import NamedTuple

from servers import clipper_up, mlserver
from table import console, grid, provenance, save
from wrk import Load, Measured, drive, drive_tensors, require_wrk

CONNECTIONS = 64
SLO_MS = 100.0


class Cell(NamedTuple):
    """What is sent: how many numbers, in which form ("predict" is Clipper's own protocol), to whom."""

    inputs: int
    form: str
    server: str = "clipper"


CELLS = [Cell(10, "predict"), Cell(10, "json"), Cell(784, "predict"), Cell(784, "json"), Cell(784, "binary")]
MLSERVER_CELLS = [Cell(10, "json", "mlserver"), Cell(784, "json", "mlserver")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of one second a cell: a look, not a figure")
    parser.add_argument(
        "--mlserver", metavar="PATH", default=which("mlserver"), help="its command, if it is not on PATH"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a cell in a round")
    arguments = parser.parse_args()
    require_wrk()
    rounds, seconds = (1, 1.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    runs: dict[Cell, list[Measured]] = defaultdict(list)
    for _ in range(rounds):
        for cell, measured in _round(seconds).items():
            runs[cell].append(measured)
        if arguments.mlserver:
            for cell, measured in _round_of_mlserver(arguments.mlserver, seconds).items():
                runs[cell].append(measured)
    results = {**provenance(), "rounds": rounds, "seconds": seconds, "connections": CONNECTIONS, "slo_ms": SLO_MS}
    results["cells"] = [{**cell._asdict(), "runs": [run._asdict() for run in some]} for cell, some in runs.items()]
    out = console()
    out.print(f"{results['date']}, {results['machine']}\n{results['command']}")
    columns = ("server", "numbers, form", "qps", "P50 ms", "P99 ms", "errors")
    title = f"FP32 [1, n], {CONNECTIONS} connections, median of {rounds} runs of {seconds:g} s"
    out.print(grid(title, columns, [_row(cell, some) for cell, some in runs.items()]))
    out.print(f"Written to {save('oip-quick' if arguments.quick else 'oip', results)}")


def _round(seconds: float) -> dict[Cell, Measured]:
    """Every cell once against a fresh server, after a warm-up that no figure contains."""
    with clipper_up() as up:
        for input_type in ("floats", "doubles"):
            up.connection.deploy_model(input_type, 1, None, input_type=input_type, flavor="noop")
            up.connection.register_application(
                f"of-{input_type}", input_type=input_type, slo_ms=SLO_MS, models=[input_type]
            )
        for cell in CELLS:
            _measure(up.query_url, cell, min(1.0, seconds))
        return {cell: _measure(up.query_url, cell, seconds) for cell in CELLS}


def _round_of_mlserver(executable: str, seconds: float) -> dict[Cell, Measured]:
    with mlserver(executable) as url:
        target = f"{url}/v2/models/noop/infer"
        drive_tensors(target, 10, "json", CONNECTIONS, min(1.0, seconds))
        return {cell: drive_tensors(target, cell.inputs, cell.form, CONNECTIONS, seconds) for cell in MLSERVER_CELLS}


def _measure(url: str, cell: Cell, seconds: float) -> Measured:
    if cell.form == "predict":
        # Its generator counts in the last digits of a double: as floats the bodies would be the same few.
        return drive(f"{url}/of-doubles/predict", Load(cell.inputs, CONNECTIONS, "distinct"), seconds)
    return drive_tensors(f"{url}/v2/models/of-floats/infer", cell.inputs, cell.form, CONNECTIONS, seconds)


def _row(cell: Cell, runs: list[Measured]) -> list[str]:
    figures = [f"{median(run.qps for run in runs):,.0f}"]
    figures += [f"{median(getattr(run, name) for run in runs):.2f}" for name in ("p50_ms", "p99_ms")]
    return [cell.server, f"{cell.inputs}, {cell.form}", *figures, str(sum(run.errors for run in runs))]


if __name__ == "__main__":
    main()
