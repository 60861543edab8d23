"""One frontend: the engine, what keeps it up to date, and the query port."""

import asyncio
import socket
from collections import Counter
from collections.abc import Mapping
from functools import partial

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.served import ServedVersion
from clipper.abstraction.timers import LoopTimers
from clipper.domain import Version
from clipper.engine import Engine
from clipper.engine.fleet import DEFAULT_SLO_S, Fleet
from clipper.engine.status import EngineStatus
from clipper.metrics import VersionMetrics
from clipper.rpc.link import dial
from clipper.server.sync import SnapshotSync
from clipper.settings import Settings
from clipper.state.store import Store
from clipper_frontends.rest.app import create_query_app
from clipper_frontends.rest.exposition import Exposition, Measured
from clipper_frontends.rest.lane import Lane
from clipper_frontends.rest.limits import Limits
from clipper_frontends.rest.server import HttpServer
from clipper_frontends.rest.submission import HttpCounters

TICK_S = 1.0


def make_engine(settings: Settings, loop: asyncio.AbstractEventLoop) -> Engine:
    """An engine on this loop, with real links and the real clock; it serves nothing until a snapshot is applied."""
    timers = LoopTimers(loop)
    cache = PredictionCache(settings.cache_bytes)
    connect = partial(dial, loop=loop, clock=timers.now)

    def serve(version: Version, metrics: VersionMetrics) -> ServedVersion:
        return ServedVersion(
            version,
            cache=cache,
            timers=timers,
            dial=connect,
            metrics=metrics,
            margin_s=settings.reply_margin_ms / 1e3,
            max_queue_length=settings.max_queue_length,
            slo_s=DEFAULT_SLO_S,
        )

    return Engine(Fleet(cache, serve), clock=timers.now)


class Frontend:
    """Serves queries as the store says. Give it a bound socket; it owns it from then on."""

    def __init__(self, settings: Settings, store: Store, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.engine = make_engine(settings, loop)
        timers = LoopTimers(loop)
        self.sync = SnapshotSync(store, self.engine, interval_s=settings.reconcile_interval_s, clock=timers.now)
        self.status = EngineStatus(self.engine, timers.now)
        lane = Lane(self.engine, HttpCounters(), timers.now)
        self.exposition = Exposition(self._measure, lane.counters)
        self.server = HttpServer(
            create_query_app(lane, self.exposition), listener, limits=Limits.of(settings), lane=lane
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the configuration once, then take queries.

        Raises:
            StoreUnavailable: There is no configuration to serve by.
        """
        await self.sync.catch_up()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.sync.run(), name="sync"), loop.create_task(self._tick(), name="status")]
        await self.server.start()

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, answer what was accepted, then let go of everything."""
        await self.server.stop(grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.engine.close()

    async def _tick(self) -> None:
        while True:
            self.status.tick()
            await asyncio.sleep(TICK_S)

    def _measure(self) -> Measured:
        engine = self.engine
        ready, _ = engine.ready()
        staleness_s = self.sync.staleness_s()
        further = {f"live_{what}": float(count) for what, count in engine.leaks().items()}
        if staleness_s is not None:
            further["configuration_age_seconds"] = staleness_s
        views = {key: served.describe() for key, served in engine.fleet.versions.items()}
        return Measured(
            applications={name: app.metrics for name, app in engine.applications.items()},
            versions=engine.fleet.metrics,
            replicas=_replica_states(views),
            queued={key: view["queued"] for key, view in views.items()},
            in_flight={key: view["in_flight"] for key, view in views.items()},
            cache_bytes=engine.cache.size_bytes,
            cache_entries=len(engine.cache),
            ready=ready,
            revision=engine.revision or 0,
            further=further,
        )


def _replica_states(
    views: Mapping[tuple[str, str], Mapping[str, list[dict[str, str]]]],
) -> Counter[tuple[str, str, str]]:
    return Counter(
        (model, version, replica["state"]) for (model, version), view in views.items() for replica in view["replicas"]
    )
