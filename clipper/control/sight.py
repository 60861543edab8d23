"""Everything that is known at one moment about what shall run, what runs, and what the frontends measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from clipper.domain import Desired, Observed, Replica, Version, VersionStatus
from clipper.engine.load import VersionKey, VersionLoad
from clipper.metrics import VersionMetrics


@dataclass(frozen=True)
class Measured:
    """What all frontends measured: their loads one by one, and their counters added up."""

    loads: Sequence[Mapping[VersionKey, VersionLoad]] = ()
    counts: Mapping[VersionKey, VersionMetrics] = field(default_factory=dict)

    def loads_of(self, key: VersionKey) -> list[VersionLoad]:
        """The loads of one version, of the frontends that serve it."""
        return [loads[key] for loads in self.loads if key in loads]


@dataclass(frozen=True)
class Sight:
    """``now_s`` is on a monotonic clock, ``wall_s`` in seconds since 1970."""

    desired: Desired
    observed: Observed
    measured: Measured
    now_s: float
    wall_s: float

    def status_of(self, version: Version) -> VersionStatus | None:
        """Where this generation of the version is; None while the controller has not seen it yet."""
        status = self.observed.statuses.get(version.model, {}).get(version.spec.version)
        return status if status is not None and status.generation == version.generation else None

    def replicas_of(self, version: Version) -> Iterable[Replica]:
        """The version's replicas in the registry."""
        for replica in self.observed.replicas.values():
            if (replica.model, replica.version, replica.generation) == (*version.key, version.generation):
                yield replica
