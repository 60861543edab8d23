"""A server with the demo application, left running until ctrl-C. Run: `make serve`."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import digits
from rich.console import Console

import clipper

out = Console()


def main() -> int:
    data = digits.load()
    best = digits.train(data, ["support vector machine"])[-1]
    with tempfile.TemporaryDirectory(prefix="clipper-demo-") as data_dir:
        command = [str(Path(sys.executable).with_name("clipper")), "up", "--data-dir", data_dir, *sys.argv[1:]]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own command
        try:
            return _serve(server, data, best)
        except KeyboardInterrupt:
            out.print("\nStopping ...")
            return 0
        finally:
            server.terminate()
            server.wait()


def _serve(server: subprocess.Popen[str], data: digits.Digits, best: digits.Trained) -> int:
    line = server.stdout.readline() if server.stdout else ""
    if not line:
        return server.wait()
    addresses = json.loads(line)
    with clipper.connect(addresses["admin"]) as connection:
        connection.deploy_model("digits", 1, best.estimator, input_type="doubles", example_input=data.train[0].tolist())
        connection.register_application("digits", input_type="doubles", slo_ms=20, default_output=-1, models=["digits"])
    _say_what_to_try(addresses, data)
    return server.wait()


def _say_what_to_try(addresses: dict[str, str], data: digits.Digits) -> None:
    image = json.dumps({"input": data.held_out[0].astype(int).tolist()}, separators=(",", ":"))
    admin = addresses["admin"]
    prefix = "" if admin == "http://127.0.0.1:1338" else f"CLIPPER_URL={admin} "
    clipper_command = os.path.relpath(Path(sys.executable).with_name("clipper"))
    out.print(f"\nThe application 'digits' is served. Ask what this digit is (it is a {data.held_out_labels[0]}):\n")
    sys.stdout.write(f"curl -s {addresses['query']}/digits/predict -d '{image}'\n\n")
    out.print(f"In a second terminal: {prefix}{clipper_command} status        Metrics: {addresses['query']}/metrics")
    out.print(f"The API: {addresses['query']}/docs and {admin}/docs        Ctrl-C stops the server.")


if __name__ == "__main__":
    sys.exit(main())
