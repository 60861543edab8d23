"""One host of an installation: store, artifacts, controller and manager, the admin port, and a frontend."""

import asyncio
import json
import logging
import sys
from contextlib import AsyncExitStack
from functools import partial

from clipper.control.artifacts import ArtifactStore
from clipper.control.controller import STOP_GRACE_S, Controller
from clipper.control.sight import Measured
from clipper.errors import UnknownReplica
from clipper.server.frontend import TICK_S, Frontend
from clipper.server.managers import open_manager, secrets_of
from clipper.server.retention import Retention
from clipper.server.stopping import StopSignal
from clipper.server.workers import Workers
from clipper.settings import Settings
from clipper.state.lock import DataDirLock
from clipper.state.sqlite import SqliteStore
from clipper.state.sqlite_feedback import SqliteFeedbackStore
from clipper_frontends.rest.admin import AdminContext, create_admin_app
from clipper_frontends.rest.limits import Limits
from clipper_frontends.rest.neighbours import GuardedProtocol, Neighbours
from clipper_frontends.rest.server import HttpServer, listen

log = logging.getLogger(__name__)

READY_WAIT_S = 60.0
"""The ready line waits so long for the models of an earlier run; after that it comes while they still load or fail."""
READY_POLL_S = 0.02
MOST_FOR_REPLICAS_S = 2.0
"""The end of the grace that is kept for ending the replicas."""


class Node:
    """Runs from `serve` to its end; everything that was opened is closed again, in reverse order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def serve(self, stop: StopSignal) -> None:
        """Serve until ``stop``; then readiness goes first, what was accepted is answered, the containers end last.

        Raises:
            ClipperError: The data directory is taken, or the store cannot be read.
            OSError: An address cannot be bound.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            stack.enter_context(DataDirLock(settings.data_dir))
            query_socket = stack.enter_context(
                listen(settings.host, settings.query_port, shared=settings.frontends > 1)
            )
            admin_socket = stack.enter_context(listen(settings.admin_host, settings.admin_port))
            store = await SqliteStore.open(settings.data_dir)
            stack.push_async_callback(store.close)
            feedback = await SqliteFeedbackStore.open(settings.data_dir)
            stack.push_async_callback(feedback.close)
            artifacts = ArtifactStore(settings.data_dir / "artifacts")
            neighbours = Neighbours()
            manager = await open_manager(settings, store.installation_id, neighbours.keep_out)
            controller = Controller(store, artifacts, manager, settings, secrets=secrets_of(settings))
            workers = Workers(settings, *query_socket.getsockname()[:2])
            frontend = Frontend(settings, store, feedback, query_socket, others=workers)
            addresses: dict[str, str | None] = {
                "query": frontend.server.url,
                "admin": None,
                "grpc": frontend.grpc.address,
            }
            context = AdminContext(
                settings,
                store,
                feedback,
                artifacts,
                controller,
                frontend.status,
                lambda: addresses,
                partial(_reached, frontend, workers),
            )
            admin = HttpServer(
                create_admin_app(context),
                admin_socket,
                limits=Limits.of_uploads(settings),
                protocol=partial(GuardedProtocol, neighbours=neighbours),
            )
            addresses["admin"] = admin.url
            await controller.start()
            try:
                workers.start(
                    frontend.grpc.port,
                    frontend.exposition.text,
                    partial(_report_stall, controller),
                    frontend.repository,
                )
                stack.callback(store.subscribe(workers.changed))
                await frontend.start()
                await admin.start()
                watchdog = asyncio.create_task(_watch_for_stalls(frontend, controller), name="watchdog")
                stack.callback(watchdog.cancel)
                steering = asyncio.create_task(_steer(frontend, workers, controller), name="steering")
                stack.callback(steering.cancel)
                retention = Retention(store, feedback, retention_s=settings.feedback_retention_s)
                pruning = asyncio.create_task(retention.run(), name="retention")
                stack.callback(pruning.cancel)
                await _serve_until(stop, frontend, workers, addresses)
            finally:
                await self._shut_down(frontend, workers, admin, controller)

    async def _shut_down(self, frontend: Frontend, workers: Workers, admin: HttpServer, controller: Controller) -> None:
        settings = self._settings
        frontend.engine.draining = True
        workers.drain()
        await asyncio.sleep(settings.drain_delay_s)
        # By then nobody waits for the replicas any more: they only have to notice.
        replicas_s = min(MOST_FOR_REPLICAS_S, settings.shutdown_grace_s / 4)
        over_at_s = asyncio.get_running_loop().time() + settings.shutdown_grace_s
        grace_s = settings.shutdown_grace_s - replicas_s
        await asyncio.gather(*(part.stop(grace_s) for part in (frontend, workers, admin)))
        left_s = over_at_s - asyncio.get_running_loop().time()
        await controller.stop(stop_replicas=True, grace_s=max(replicas_s, min(left_s, STOP_GRACE_S)))
        log.info("Stopped.")


async def _reached(frontend: Frontend, workers: Workers, revision: int) -> None:
    """Whichever frontend is asked next serves this revision."""
    await asyncio.gather(frontend.sync.reached(revision), workers.reached(revision))


async def _serve_until(
    stop: StopSignal, frontend: Frontend, workers: Workers, addresses: dict[str, str | None]
) -> None:
    asked = asyncio.create_task(stop.wait())
    try:
        ready = asyncio.create_task(_until_ready(frontend, workers))
        await asyncio.wait([asked, ready], timeout=READY_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not asked.done():
            sys.stdout.write(json.dumps(addresses) + "\n")
            sys.stdout.flush()
        await asked
        log.info("Stopping: %s.", stop.reason)
    finally:
        asked.cancel()


async def _until_ready(frontend: Frontend, workers: Workers) -> None:
    while not (frontend.engine.ready()[0] and workers.ready()):  # noqa: ASYNC110  # asked of links and store alike; only at the start
        await asyncio.sleep(READY_POLL_S)


async def _watch_for_stalls(frontend: Frontend, controller: Controller) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        for replica_id, seconds in frontend.engine.fleet.unanswered_s().items():
            _report_stall(controller, replica_id, seconds)


async def _steer(frontend: Frontend, workers: Workers, controller: Controller) -> None:
    """Let the controller scale, promote and roll back by what all frontends measure."""
    while True:
        await asyncio.sleep(TICK_S)
        try:
            await controller.steer(Measured((frontend.loads(), *workers.loads()), frontend.counts()))
        except Exception:
            # One bad look must not be the last one.
            log.exception("What the frontends measured could not be acted on.")


def _report_stall(controller: Controller, replica_id: str, seconds: float) -> None:
    """Tell the controller how long batches have been away, so that a replica that hangs is replaced."""
    try:
        controller.report_stalled(replica_id, seconds)
    except UnknownReplica:
        log.debug("Replica %s has unanswered batches and is already gone.", replica_id)
