"""An engine in this process with real replicas behind it, and neither REST nor store nor controller."""

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from artifacts import write_estimator

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.served import ServedVersion
from clipper.abstraction.timers import LoopTimers
from clipper.domain import Application, Desired, Model, Observed, Replica, Snapshot, Version, VersionSpec
from clipper.engine import Engine
from clipper.engine.fleet import Fleet
from clipper.engine.selection import Selection
from clipper.metrics import VersionMetrics
from clipper.rpc.link import dial

GENERATION = 1
START_TIMEOUT_S = 60.0
REPLY_MARGIN_S = 0.001
MAX_QUEUE_LENGTH = 100_000


class Replicated(NamedTuple):
    """A model with one replica: where its artifact is, of which flavor, and how it is batched."""

    artifact: Path
    flavor: str = "sklearn"
    batching: str = "deadline"


@asynccontextmanager
async def engine_with(
    estimator: Any, batching_by_model: Mapping[str, str], slo_ms: float, folder: Path
) -> AsyncIterator[Engine]:
    """An engine that serves the same estimator under several names, each with a batching policy and one replica.

    An application of the same name is linked to each. Nothing is cached.
    """
    artifact = write_estimator(estimator, folder / "artifact")
    models = {name: Replicated(artifact, batching=batching) for name, batching in batching_by_model.items()}
    applications = [Application(name=name, input_type="doubles", slo_ms=slo_ms, models=(name,)) for name in models]
    async with embedded(models, applications, folder) as serving:
        yield serving.engine


class Serving(NamedTuple):
    """An engine, and what it was told to serve."""

    engine: Engine
    snapshot: Snapshot

    def switch_to(self, applications: Sequence[Application]) -> "Serving":
        """The same models behind other applications."""
        desired = self.snapshot.desired.model_copy(update={"applications": {app.name: app for app in applications}})
        snapshot = self.snapshot.model_copy(update={"revision": self.snapshot.revision + 1, "desired": desired})
        self.engine.apply(snapshot)
        return Serving(self.engine, snapshot)


@asynccontextmanager
async def embedded(
    models: Mapping[str, Replicated], applications: Sequence[Application], folder: Path
) -> AsyncIterator[Serving]:
    """An engine with those models, each with a replica of its own, behind those applications. Nothing is cached."""
    sockets = {name: folder / f"{name}.sock" for name in models}
    replicas = [_start_replica(name, model.artifact, sockets[name]) for name, model in models.items()]
    engine = _engine()
    try:
        serving = Serving(engine, _snapshot(models, applications, sockets))
        engine.apply(serving.snapshot)
        await _until_ready(engine)
        # scikit-learn's modules and the training data live here and in no server: keep them out of its collections.
        gc.collect()
        gc.freeze()
        yield serving
    finally:
        gc.unfreeze()
        engine.close()
        for replica in replicas:
            replica.terminate()
        for replica in replicas:
            replica.wait()


def _start_replica(name: str, artifact: Path, socket: Path) -> subprocess.Popen[bytes]:
    options = {
        "artifact": artifact,
        "model": name,
        "version": 1,
        "generation": GENERATION,
        "replica": name,
        "installation": "benchmark",
        "listen": f"unix:{socket}",
        "input-type": "doubles",
        "method": "predict",
        "threads": 1,
    }
    arguments = [f"--{option}={value}" for option, value in options.items()]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "clipper_container", *arguments],
        env={**os.environ, **one_thread},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _engine() -> Engine:
    loop = asyncio.get_running_loop()
    cache = PredictionCache(0)
    timers = LoopTimers(loop)

    def serve(version: Version, metrics: VersionMetrics) -> ServedVersion:
        return ServedVersion(
            version,
            cache=cache,
            timers=timers,
            dial=partial(dial, loop=loop, clock=time.monotonic),
            metrics=metrics,
            margin_s=REPLY_MARGIN_S,
            max_queue_length=MAX_QUEUE_LENGTH,
            slo_s=1.0,
        )

    return Engine(Fleet(cache, serve), Selection(timers))


def _snapshot(
    models: Mapping[str, Replicated], applications: Sequence[Application], sockets: Mapping[str, Path]
) -> Snapshot:
    versions, replicas = {}, {}
    for name, model in models.items():
        spec = VersionSpec.model_validate(
            {
                "version": "1",
                "flavor": model.flavor,
                "input_type": "doubles",
                "batching": model.batching,
                "caching": {"enabled": False},
            }
        )
        versions[name] = {"1": Version(model=name, spec=spec, generation=GENERATION)}
        replicas[name] = Replica(
            replica_id=name,
            model=name,
            version="1",
            generation=GENERATION,
            host_id="local",
            address=f"unix:{sockets[name]}",
            state="ready",
        )
    desired = Desired(
        applications={app.name: app for app in applications},
        models={name: Model(name=name, target="1") for name in models},
        versions=versions,
    )
    return Snapshot(
        revision=1, desired=desired, observed=Observed(current=dict.fromkeys(models, "1"), replicas=replicas)
    )


async def _until_ready(engine: Engine) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while not engine.ready()[0]:  # noqa: ASYNC110  # the engine has no event for it
            await asyncio.sleep(0.05)
