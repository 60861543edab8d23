"""What this frontend measures, for people who look."""

from collections.abc import Callable
from typing import Any

from clipper.engine.engine import Engine
from clipper.engine.recent import RecentQueries, describe_version


class EngineStatus:
    """Rates over the last seconds and totals. Tick it about once a second."""

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._recent: dict[str, RecentQueries] = {}

    def tick(self) -> None:
        """Remember the counters as they are now."""
        applications = self._engine.applications
        self._recent = {
            name: self._recent.get(name) or RecentQueries(app.metrics) for name, app in applications.items()
        }
        now_s = self._clock()
        for recent in self._recent.values():
            recent.tick(now_s)

    def status(self) -> dict[str, Any]:
        """``{"ready", "reason", "applications": {name: {...}}, "versions": {"model:version": {...}}}``."""
        ready, reason = self._engine.ready()
        now_s = self._clock()
        views = self._engine.describe()
        metrics = self._engine.fleet.metrics
        return {
            "ready": ready,
            "reason": reason,
            "applications": {name: recent.describe(now_s) for name, recent in self._recent.items()},
            "versions": {
                f"{model}:{version}": {**describe_version(m), "frontend": views.get(f"{model}:{version}")}
                for (model, version), m in metrics.items()
            },
        }
