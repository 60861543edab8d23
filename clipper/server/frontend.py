"""One frontend: the engine, what keeps it up to date, and the query port."""

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.served import ServedVersion
from clipper.abstraction.timers import LoopTimers
from clipper.domain import Version
from clipper.engine import Engine
from clipper.engine.feedback import FeedbackService
from clipper.engine.fleet import DEFAULT_SLO_S, Fleet
from clipper.engine.load import LoadMeter, VersionKey, VersionLoad
from clipper.engine.selection import Selection
from clipper.engine.status import EngineStatus, FrontendView, view_of
from clipper.metrics import FeedbackMetrics, VersionMetrics
from clipper.rpc.dialling import dialler, external_dialler
from clipper.server.managers import secrets_of
from clipper.server.merging import HELD, LIVE, merged
from clipper.server.repository import RepositoryControl
from clipper.server.selection_sync import SelectionSync
from clipper.server.sync import SnapshotSync
from clipper.settings import Settings
from clipper.state.feedback import FeedbackStore
from clipper.state.store import Store
from clipper_frontends.grpc.server import GrpcServer
from clipper_frontends.oip.repository import Repository
from clipper_frontends.rest.app import Scrape, create_query_app
from clipper_frontends.rest.exposition import Exposition, Measured
from clipper_frontends.rest.lane import Lane
from clipper_frontends.rest.limits import Limits
from clipper_frontends.rest.server import HttpServer
from clipper_frontends.rest.submission import HttpCounters

TICK_S = 1.0
LAST_ANSWERS_S = 0.5
"""The end of the grace in which queries that are not answered in time are told why."""


def make_engine(settings: Settings, feedback: FeedbackStore, loop: asyncio.AbstractEventLoop) -> Engine:
    """An engine on this loop, with real links and the real clock; it serves nothing until a snapshot is applied."""
    timers = LoopTimers(loop)
    cache = PredictionCache(settings.cache_bytes)
    connect = dialler(loop, timers.now, secrets_of(settings))

    def serve(version: Version, metrics: VersionMetrics) -> ServedVersion:
        external = version.spec.external
        return ServedVersion(
            version,
            cache=cache,
            timers=timers,
            dial=connect if external is None else external_dialler(loop, timers.now, external),
            metrics=metrics,
            margin_s=settings.reply_margin_ms / 1e3,
            max_queue_length=settings.max_queue_length,
            slo_s=DEFAULT_SLO_S,
        )

    selection = Selection(
        timers,
        feedback,
        margin_s=settings.reply_margin_ms / 1e3,
        max_user_bytes=settings.max_user_bytes,
        max_output_bytes=settings.max_output_bytes,
    )
    return Engine(Fleet(cache, serve), selection)


class Others(Protocol):
    """The further frontends of this server, as the first one sees them."""

    def measured(self) -> Sequence[Measured]:
        """What each of them measures now."""

    def views(self) -> Sequence[FrontendView]:
        """Where each of them is."""

    def revision(self) -> int | None:
        """What the last of them serves; None: there are none."""

    @property
    def past(self) -> Measured:
        """What those that ended have counted."""


class Alone:
    """No further frontends."""

    past = Measured()

    def measured(self) -> Sequence[Measured]:
        """Nothing."""
        return ()

    def views(self) -> Sequence[FrontendView]:
        """Nowhere."""
        return ()

    def revision(self) -> int | None:
        """None."""
        return None


class Frontend:
    """Serves queries as the store says. Give it a bound socket; it owns it from then on.

    gRPC is served on ``grpc_port`` of the settings' host (None: the one that the settings say). Its metrics and its
    status include the ``others``. With ``scrape``, the metrics are another process's business; so are,
    with ``repository``, the changes that callers of the Open Inference Protocol make.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        feedback: FeedbackStore,
        listener: socket.socket,
        *,
        grpc_port: int | None = None,
        others: Others | None = None,
        scrape: Scrape | None = None,
        repository: Repository | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        timers = LoopTimers(loop)
        self._clock = timers.now
        self._others = others or Alone()
        self.engine = make_engine(settings, feedback, loop)
        self.sync = SnapshotSync(store, self.engine, interval_s=settings.reconcile_interval_s, clock=timers.now)
        self._selection_sync = SelectionSync(self.engine.selection, clock=timers.now)
        self.status = EngineStatus(self.engine, timers.now, self._count, self._others.views)
        self._loads = LoadMeter()
        self._feedback_metrics = FeedbackMetrics()
        self.feedback = FeedbackService(
            self.engine, feedback, self._feedback_metrics, retention_s=settings.feedback_retention_s
        )
        self._lane = Lane(self.engine, HttpCounters(), timers.now, feedback=self.feedback)
        self.exposition = Exposition(self._measure_all)
        self.repository = repository or RepositoryControl(settings, store, self.engine, self._everywhere)
        self.server = HttpServer(
            create_query_app(self._lane, scrape or self.exposition.scrape, self.repository),
            listener,
            limits=Limits.of(settings),
            lane=self._lane,
        )
        self.grpc = GrpcServer(
            settings.host,
            settings.grpc_port if grpc_port is None else grpc_port,
            engine=self.engine,
            feedback=self.feedback,
            limits=Limits.of(settings),
            refused=self._lane.counters.refused,
            repository=self.repository,
            shared=settings.frontends > 1,
            clock=timers.now,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the configuration once, then take queries.

        Raises:
            StoreUnavailable: There is no configuration to serve by.
        """
        await self.follow()
        await self.take_queries()

    async def take_queries(self) -> None:
        """Listen, for REST and for gRPC."""
        await self.server.start()
        await self.grpc.start()

    async def follow(self) -> None:
        """Read the configuration, and follow it from then on."""
        await self.sync.catch_up()
        await self._selection_sync.catch_up()
        # What is loaded by now stays; full collections need not walk it, which stalled the loop for 30 ms and more.
        gc.collect()
        gc.freeze()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self.sync.run(), name="sync"),
            loop.create_task(self._selection_sync.run(), name="selection"),
            loop.create_task(self._tick(), name="status"),
        ]

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, answer what was accepted, then let go of everything.

        What has no answer when nearly all of the grace is over is told that the server shuts down.
        """
        last_answers_s = min(LAST_ANSWERS_S, grace_s / 4)
        try:
            async with asyncio.timeout(grace_s - last_answers_s):
                await self._stop_servers(grace_s)
        except TimeoutError:
            self.engine.close()
            await self._stop_servers(last_answers_s)
        await self.feedback.close(last_answers_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.engine.close()

    def loads(self) -> dict[VersionKey, VersionLoad]:
        """What queries ask of the replicas, at this frontend, as of its last tick."""
        return self._loads.loads(self.engine.fleet.versions)

    def counts(self) -> Mapping[VersionKey, VersionMetrics]:
        """What all frontends have counted of each version."""
        return self._count().versions

    def _everywhere(self) -> tuple[int, Sequence[FrontendView]]:
        """The revision that the last of all frontends serves, and where each of them is."""
        own, theirs = self.engine.revision or 0, self._others.revision()
        return own if theirs is None else min(own, theirs), (view_of(self.engine), *self._others.views())

    async def _stop_servers(self, grace_s: float) -> None:
        await asyncio.gather(self.server.stop(grace_s), self.grpc.stop(grace_s))

    def measure(self) -> Measured:
        """What this frontend measures, the others left out."""
        engine = self.engine
        ready, _ = engine.ready()
        staleness_s = self.sync.staleness_s()
        further = {f"{LIVE}{what}": float(count) for what, count in engine.leaks().items()}
        further[f"{LIVE}feedback"] = float(self.feedback.pending)
        further |= {f"{HELD}{what}": float(count) for what, count in engine.selection.describe().items()}
        if staleness_s is not None:
            further["configuration_age_seconds"] = staleness_s
        evidence_age_s = self._selection_sync.staleness_s()
        if evidence_age_s is not None:
            further["evidence_age_seconds"] = evidence_age_s
        views = {key: served.describe() for key, served in engine.fleet.versions.items()}
        return replace(
            self._own_count(),
            replicas=_replica_states(views),
            queued={key: view["queued"] for key, view in views.items()},
            in_flight={key: view["in_flight"] for key, view in views.items()},
            cache_bytes=engine.cache.size_bytes,
            cache_entries=len(engine.cache),
            ready=ready,
            revision=engine.revision or 0,
            further=further,
        )

    def _measure_all(self) -> Measured:
        return merged(self.measure(), self._others.measured(), self._others.past)

    def _count(self) -> Measured:
        return merged(self._own_count(), self._others.measured(), self._others.past)

    def _own_count(self) -> Measured:
        """The counters alone: they cost nothing to read."""
        return Measured(
            applications={name: app.metrics for name, app in self.engine.applications.items()},
            versions=self.engine.fleet.metrics,
            refused=self._lane.counters.refused,
            feedback=self._feedback_metrics,
        )

    async def _tick(self) -> None:
        while True:
            self.status.tick()
            self._loads.tick(self.engine.fleet.metrics, self._clock())
            await asyncio.sleep(TICK_S)


def _replica_states(
    views: Mapping[tuple[str, str], Mapping[str, list[dict[str, str]]]],
) -> Counter[tuple[str, str, str]]:
    return Counter(
        (model, version, replica["state"]) for (model, version), view in views.items() for replica in view["replicas"]
    )
