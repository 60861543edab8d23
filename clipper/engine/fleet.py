"""The model versions that this frontend serves, and the routes to them."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from clipper.abstraction.cache import PredictionCache
from clipper.abstraction.served import ServedVersion
from clipper.domain import Application, Snapshot, Version
from clipper.engine.route import CanaryRoute, ModelRoute
from clipper.errors import NoModelReady, UnknownVersion
from clipper.metrics import VersionMetrics

_LEAVING = frozenset({"draining", "failed"})
"""States in which a replica is not dialled. One that loads is dialled: its link knows first when it is ready."""

DEFAULT_SLO_S = 0.1
"""Assumed of a version that no application links yet."""


class Fleet:
    """Makes, feeds and retires one `ServedVersion` for each version that has, or should have, replicas."""

    def __init__(self, cache: PredictionCache, serve: Callable[[Version, VersionMetrics], ServedVersion]) -> None:
        self.cache = cache
        self._serve = serve
        self._versions: dict[tuple[str, str], ServedVersion] = {}
        self._metrics: dict[tuple[str, str], VersionMetrics] = {}
        self._routes: dict[str, ModelRoute] = {}
        self._definitions: dict[tuple[str, str], Version] = {}
        self.epoch = 0
        """Changes whenever a version may have become ready, or unready, or the one that serves."""

    @property
    def metrics(self) -> Mapping[tuple[str, str], VersionMetrics]:
        """Counters by (model, version); those of a retired version stay, as counters must."""
        return self._metrics

    @property
    def versions(self) -> Mapping[tuple[str, str], ServedVersion]:
        """What is served, by (model, version)."""
        return self._versions

    def route(self, model: str) -> ModelRoute:
        """The route to that model; it exists even while the model has no version."""
        return self._routes.setdefault(model, ModelRoute())

    def has_traffic(self, model: str, version: str) -> bool:
        """Whether this frontend sends the model's queries to that version now."""
        route, served = self._routes.get(model), self._versions.get((model, version))
        return route is not None and served is not None and route.serving is served

    def version(self, model: str, version: str) -> ServedVersion:
        """A version by name, current or not.

        Raises:
            UnknownVersion: The model has no such version, or it is stopped.
        """
        served = self._versions.get((model, version))
        if served is None:
            raise UnknownVersion(f"Model '{model}' has no running version '{version}'.")
        return served

    def apply(self, snapshot: Snapshot, chance: Callable[[], float]) -> None:
        """Follow the snapshot: new versions and replicas are dialled, vanished ones closed, routes pointed.

        ``chance``, uniform in [0, 1), draws the queries of canaries.
        """
        live = dict(_live_versions(snapshot, self._definitions))
        for key in [key for key in self._versions if key not in live]:
            self._retire(key)
        for key, version in live.items():
            self._keep(key, version)
            self._versions[key].set_replicas(_addresses(snapshot, version))
        for model in self._routes.keys() | snapshot.desired.models.keys():
            current = snapshot.observed.current.get(model)
            self.route(model).point_at(self._versions.get((model, current)) if current is not None else None)
            self._try_out(snapshot, model, chance)
        for model in [m for m in self._routes if m not in snapshot.desired.models]:
            del self._routes[model]
        self.epoch += 1

    def _try_out(self, snapshot: Snapshot, model: str, chance: Callable[[], float]) -> None:
        """Give the model's canary its share, and measure both while it has it."""
        wanted = snapshot.desired.models.get(model)
        name = wanted.canary if wanted is not None else None
        route, served = self.route(model), self._versions.get((model, name or ""))
        version = snapshot.desired.version(model, name or "")
        canary: CanaryRoute | None = None
        if served is not None and version is not None and version.spec.canary is not None:
            canary = CanaryRoute(served, version.spec.canary.share, version.generation, chance)
        route.try_out(canary)
        for key, one in self._versions.items():
            if key[0] == model:
                one.time_answers(canary is not None)

    def _keep(self, key: tuple[str, str], version: Version) -> None:
        before = self._definitions.get(key)
        if before is not None and before.generation != version.generation:
            self._retire(key)
        if key not in self._versions:
            served = self._serve(version, self._metrics.setdefault(key, VersionMetrics()))
            served.on_ready_changed = partial(self._ready_changed, self.route(version.model))
            self._versions[key] = served
        elif before is not None and before.spec != version.spec:
            self._versions[key].configure(version)
        self._definitions[key] = version

    def _ready_changed(self, route: ModelRoute) -> None:
        route.settle()
        self.epoch += 1

    def _retire(self, key: tuple[str, str], sentence: str | None = None) -> None:
        served = self._versions.pop(key)
        self._definitions.pop(key)
        self.route(key[0]).forget(served)
        self.epoch += 1
        sentence = sentence or f"Version '{key[1]}' of model '{key[0]}' was stopped."
        served.close(NoModelReady(sentence, retry_after_s=1.0))

    def set_slos(self, applications: Iterable[Application]) -> None:
        """Each version batches for the tightest SLO of the applications that link its model."""
        tightest: dict[str, float] = {}
        for app in applications:
            for model in app.models:
                tightest[model] = min(app.slo_ms / 1e3, tightest.get(model, float("inf")))
        for (model, _), served in self._versions.items():
            served.slo_s = tightest.get(model, DEFAULT_SLO_S)

    def unanswered_s(self) -> dict[str, float]:
        """For each replica with work outstanding: for how many seconds its oldest batch has been away."""
        away: dict[str, float] = {}
        for served in self._versions.values():
            away |= served.unanswered_s()
        return away

    def close(self) -> None:
        """Retire everything."""
        for key in list(self._versions):
            self._retire(key, "The server is shutting down.")

    def leaks(self) -> dict[str, int]:
        """The sum over all versions of what is alive there."""
        total: dict[str, int] = {}
        for served in self._versions.values():
            for what, count in served.leaks().items():
                total[what] = total.get(what, 0) + count
        return total

    def describe(self) -> dict[str, Any]:
        """Each version's own description, by 'model:version'."""
        return {f"{model}:{version}": served.describe() for (model, version), served in self._versions.items()}


def _live_versions(
    snapshot: Snapshot, known: Mapping[tuple[str, str], Version]
) -> Iterable[tuple[tuple[str, str], Version]]:
    """Those that shall run, and those that run; the ``known`` ones that are deleted too, to answer what they have."""
    running = {(r.model, r.version, r.generation) for r in snapshot.observed.replicas.values()}
    for key, version in known.items():
        if snapshot.desired.version(*key) is None and (*key, version.generation) in running:
            yield key, version
    for versions in snapshot.desired.versions.values():
        for version in versions.values():
            if version.wanted or (*version.key, version.generation) in running:
                yield version.key, version


def _addresses(snapshot: Snapshot, version: Version) -> dict[str, str]:
    return {
        replica.replica_id: replica.address
        for replica in snapshot.observed.replicas.values()
        if (replica.model, replica.version) == version.key
        and replica.generation == version.generation
        and replica.state not in _LEAVING
    }
