"""What the frontends of this server measure, for people who look."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from clipper.engine.engine import Engine
from clipper.engine.load import VersionKey
from clipper.engine.recent import RecentQueries, describe_version
from clipper.metrics import ApplicationMetrics, VersionMetrics


class Counted(Protocol):
    """What all frontends together have counted."""

    @property
    def applications(self) -> Mapping[str, ApplicationMetrics]:
        """By name."""

    @property
    def versions(self) -> Mapping[VersionKey, VersionMetrics]:
        """By model and version; those of a version that is gone stay."""


@dataclass(frozen=True, slots=True)
class FrontendView:
    """Where one frontend is: whether it is ready, which versions it can ask, and to which ones it sends its queries."""

    ready: bool
    reason: str
    serving: frozenset[VersionKey]
    traffic: frozenset[VersionKey]


def view_of(engine: Engine) -> FrontendView:
    """How it looks from this frontend."""
    ready, reason = engine.ready()
    fleet = engine.fleet
    return FrontendView(
        ready,
        reason,
        serving=frozenset(key for key, served in fleet.versions.items() if served.has_ready_replica),
        traffic=frozenset(key for key in fleet.versions if fleet.has_traffic(*key)),
    )


class EngineStatus:
    """Rates over the last seconds and totals. Tick it about once a second.

    Args:
        engine: Of this frontend.
        clock: Monotonic, in seconds.
        count: What all frontends have counted until now.
        others: Where the other frontends of this server are.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], float],
        count: Callable[[], Counted],
        others: Callable[[], Sequence[FrontendView]] = tuple,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._count = count
        self._others = others
        self._recent: dict[str, RecentQueries] = {}

    def tick(self) -> None:
        """Remember the counters as they are now."""
        applications = self._count().applications
        self._recent = {name: self._recent.get(name) or RecentQueries() for name in applications}
        now_s = self._clock()
        for name, recent in self._recent.items():
            recent.tick(applications[name], now_s)

    def status(self) -> dict[str, Any]:
        """``{"ready", "reason", "applications": {name: {...}}, "versions": {"model:version": {...}}}``.

        A version is ``serving`` where every frontend can ask it, and has ``traffic`` where any sends its queries there.
        """
        counted = self._count()
        views = (view_of(self._engine), *self._others())
        waiting = next((view for view in views if not view.ready), views[0])
        described = self._engine.describe()
        now_s = self._clock()
        return {
            "ready": waiting.ready,
            "reason": waiting.reason,
            "applications": {
                name: (self._recent.get(name) or RecentQueries()).describe(metrics, now_s)
                for name, metrics in counted.applications.items()
            },
            "versions": {
                f"{model}:{version}": {
                    **describe_version(metrics),
                    "frontend": described.get(f"{model}:{version}"),
                    "serving": all((model, version) in view.serving for view in views),
                    "traffic": any((model, version) in view.traffic for view in views),
                }
                for (model, version), metrics in counted.versions.items()
            },
        }
