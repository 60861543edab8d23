"""An engine in this process with real replicas behind it, and neither REST nor store nor controller."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.served import ServedVersion
from clipper.abstraction.timers import LoopTimers
from clipper.domain import Application, Desired, Model, Observed, Replica, Snapshot, Version, VersionSpec
from clipper.engine import Engine
from clipper.engine.fleet import Fleet
from clipper.metrics import VersionMetrics
from clipper.rpc.link import dial

GENERATION = 1
START_TIMEOUT_S = 60.0
REPLY_MARGIN_S = 0.001
MAX_QUEUE_LENGTH = 100_000


@asynccontextmanager
async def engine_with(
    estimator: Any, batching_by_model: Mapping[str, str], slo_ms: float, folder: Path
) -> AsyncIterator[Engine]:
    """An engine that serves the same estimator under several names, each with a batching policy and one replica.

    An application of the same name is linked to each. Nothing is cached.
    """
    artifact = _write_artifact(estimator, folder)
    sockets = {name: folder / f"{name}.sock" for name in batching_by_model}
    replicas = [_start_replica(name, artifact, socket) for name, socket in sockets.items()]
    engine = _engine()
    try:
        engine.apply(_snapshot(batching_by_model, sockets, slo_ms))
        await _until_ready(engine)
        # scikit-learn's modules and the training data live here and in no server: keep them out of its collections.
        gc.collect()
        gc.freeze()
        yield engine
    finally:
        gc.unfreeze()
        engine.close()
        for replica in replicas:
            replica.terminate()
        for replica in replicas:
            replica.wait()


def _write_artifact(estimator: Any, folder: Path) -> Path:
    artifact = folder / "artifact"
    artifact.mkdir()
    (artifact / "model.pkl").write_bytes(pickle.dumps(estimator))
    manifest = {
        "format": 1,
        "flavor": "sklearn",
        "input_type": "doubles",
        "method": "predict",
        "input_width": int(estimator.n_features_in_),
        "example_input": [0.0] * int(estimator.n_features_in_),
        "entry": "model.pkl",
    }
    (artifact / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return artifact


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

    return Engine(Fleet(cache, serve), clock=time.monotonic)


def _snapshot(batching_by_model: Mapping[str, str], sockets: Mapping[str, Path], slo_ms: float) -> Snapshot:
    applications, versions, replicas = {}, {}, {}
    for name, batching in batching_by_model.items():
        spec = VersionSpec.model_validate(
            {
                "version": "1",
                "flavor": "sklearn",
                "input_type": "doubles",
                "batching": batching,
                "caching": {"enabled": False},
            }
        )
        versions[name] = {"1": Version(model=name, spec=spec, generation=GENERATION)}
        applications[name] = Application(name=name, input_type="doubles", slo_ms=slo_ms, models=(name,))
        replicas[name] = Replica(
            replica_id=name,
            model=name,
            version="1",
            generation=GENERATION,
            host_id="local",
            address=f"unix:{sockets[name]}",
            state="ready",
        )
    models = {name: Model(name=name, target="1") for name in batching_by_model}
    desired = Desired(applications=applications, models=models, versions=versions)
    return Snapshot(
        revision=1, desired=desired, observed=Observed(current=dict.fromkeys(batching_by_model, "1"), replicas=replicas)
    )


async def _until_ready(engine: Engine) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while not engine.ready()[0]:  # noqa: ASYNC110  # the engine has no event for it
            await asyncio.sleep(0.05)
