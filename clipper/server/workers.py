"""All further frontends of a server, as its main process sees them."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from clipper.engine.load import VersionKey, VersionLoad
from clipper.engine.status import FrontendView
from clipper.server.merging import retained
from clipper.server.messages import Begin, Changed, Report
from clipper.server.worker_process import WorkerProcess
from clipper.settings import Settings
from clipper_frontends.oip.repository import Repository
from clipper_frontends.rest.exposition import Measured


class Workers:
    """``settings.frontends - 1`` processes that share the query address. None of them: nothing here costs anything.

    Args:
        settings: Of the server.
        host: Where queries are taken.
        port: The same.
    """

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        self.past = Measured()
        self._interval_s = settings.reconcile_interval_s
        told = settings.model_dump(mode="json", exclude={"admin_token"})
        self._told = told
        self._address = host, port
        self._numbers = range(1, settings.frontends)
        self._processes: list[WorkerProcess] = []
        self._news = asyncio.Event()
        self._on_stalled: Callable[[str, float], None] = lambda _replica_id, _seconds: None

    def start(
        self,
        grpc_port: int,
        expose: Callable[[str], tuple[bytes, str]],
        on_stalled: Callable[[str, float], None],
        repository: Repository,
    ) -> None:
        """Start them, and keep them running.

        Args:
            grpc_port: Where gRPC is taken.
            expose: From an ``Accept`` header to the metrics of the whole server and their content type.
            on_stalled: Told of the replicas at which batches of theirs are away, and for how many seconds.
            repository: Makes the changes that they are asked for.
        """
        self._on_stalled = on_stalled
        begins = [Begin(number, self._told, *self._address, grpc_port) for number in self._numbers]
        self._processes = [
            WorkerProcess(begin, expose, self._on_report, self._on_end, repository.carry_out) for begin in begins
        ]

    def changed(self) -> None:
        """The store changed: let them follow at once."""
        for process in self._processes:
            process.tell(Changed())

    def drain(self) -> None:
        """Let all of them say that they are not ready."""
        for process in self._processes:
            process.drain()

    async def stop(self, grace_s: float) -> None:
        """Let all of them answer what they have accepted, and end."""
        await asyncio.gather(*(process.stop(grace_s) for process in self._processes))

    def ready(self) -> bool:
        """Whether all of them take queries and can answer them."""
        return all(process.report is not None and process.report.ready for process in self._processes)

    async def reached(self, revision: int) -> None:
        """Wait until those that take queries serve ``revision`` or a later one; gives up after one interval."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval_s):
                while any(report.revision < revision for report in self._reports()):
                    self._news.clear()
                    await self._news.wait()

    def revision(self) -> int | None:
        """See `Others`."""
        return min((report.revision for report in self._reports()), default=None)

    def measured(self) -> Sequence[Measured]:
        """See `Others`."""
        return [report.measured for report in self._reports()]

    def views(self) -> Sequence[FrontendView]:
        """See `Others`."""
        return [report.view for report in self._reports()]

    def loads(self) -> list[Mapping[VersionKey, VersionLoad]]:
        """What queries ask of the replicas at each of them."""
        return [dict(report.loads) for report in self._reports()]

    def _reports(self) -> list[Report]:
        return [process.report for process in self._processes if process.report is not None]

    def _on_report(self, report: Report) -> None:
        for replica_id, seconds in report.stalled.items():
            self._on_stalled(replica_id, seconds)
        self._news.set()

    def _on_end(self, last: Report) -> None:
        self.past = retained(self.past, last.measured)
        self._news.set()
