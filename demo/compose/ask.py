"""The demo application of docker-compose.yml: deploys a model, registers an application, and asks it every second."""

import itertools
import os
import signal
import sys
import time

import clipper

TRY_S = 1.0
DEADLINE_S = 300.0
"""The first model's image has to be built."""


def total(batch):  # noqa: ANN001, ANN201  # travels into the container as it is
    """The model: the sum of each row."""
    return batch.sum(axis=1)


def connect() -> clipper.Connection:
    """The server, as soon as it answers."""
    connection = clipper.connect(token=os.environ["CLIPPER_ADMIN_TOKEN"], query_url=os.environ["CLIPPER_QUERY_URL"])
    until_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            connection.get_all_apps()
        except clipper.ClipperError:
            if time.monotonic() > until_s:
                raise
            time.sleep(TRY_S)
        else:
            return connection


def main() -> None:
    with connect() as connection:
        if "total" not in [model["name"] for model in connection.get_all_models()]:
            print("deploying the model ...")
            connection.deploy_model("total", 1, total, input_type="doubles", num_replicas=2)
        if "demo" not in [app["name"] for app in connection.get_all_apps()]:
            connection.register_application("demo", input_type="doubles", slo_ms=200, models=["total"])
        for count in itertools.count():
            answer = connection.predict("demo", [float(count), 1.0])
            print(f"{count} + 1 = {answer.output}")
            time.sleep(TRY_S)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # the first process of a container has no default for it
    main()
