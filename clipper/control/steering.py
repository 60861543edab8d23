"""What follows from what the frontends measure: versions that scale, and canaries that win or lose."""

from dataclasses import dataclass

from clipper.control.lookup import replicas_wanted
from clipper.control.scaling import Scaler, demand_of
from clipper.control.sight import Sight
from clipper.control.trials import Conclusion, Trials
from clipper.deployment import ReplicaRange, Scale
from clipper.domain import Observed, VersionStatus

SETTLED_S = 5.0
"""So long after it was scaled, what a version executed says what so many replicas can do."""


@dataclass(frozen=True)
class Steered:
    """The observed state with what was decided, and the canaries that are over by a change of the desired state."""

    observed: Observed
    conclusions: tuple[Conclusion, ...]


class Steering:
    """Looks at everything about once a second. Time and measurements come in; what it decided goes out."""

    def __init__(self) -> None:
        self._scalers: dict[tuple[str, str, int], Scaler] = {}
        self._trials = Trials()

    def steer(self, sight: Sight) -> Steered:
        """One look."""
        statuses = {
            model: {name: self._scaled(status, sight) for name, status in of_model.items()}
            for model, of_model in sight.observed.statuses.items()
        }
        rollouts, conclusions = self._trials.look(sight)
        self._forget(sight)
        return Steered(sight.observed.model_copy(update={"statuses": statuses, "rollouts": rollouts}), conclusions)

    def _scaled(self, status: VersionStatus, sight: Sight) -> VersionStatus:
        """The version's status with the number of replicas that it shall have."""
        version = sight.desired.version(status.model, status.version)
        if version is None or version.generation != status.generation:
            return status
        bounds = version.spec.replicas
        if not isinstance(bounds, ReplicaRange):
            return status if status.scale is None else status.model_copy(update={"scale": None})
        ready = sum(replica.state == "ready" for replica in sight.replicas_of(version))
        if not ready:  # its queries are refused for another reason than that there are too many
            return status
        replicas = replicas_wanted(version, sight.observed)
        scaler = self._scalers.setdefault((*version.key, version.generation), Scaler(sight.now_s))
        demand = demand_of(sight.measured.loads_of(version.key), ready if _is_settled(status, sight.wall_s) else 0)
        need = scaler.decide(replicas, demand, bounds, sight.now_s)
        if need.replicas == replicas:
            return status
        scale = Scale(
            replicas=need.replicas, reason=f"{replicas} -> {need.replicas}: {need.reason}", since=sight.wall_s
        )
        return status.model_copy(update={"scale": scale})

    def _forget(self, sight: Sight) -> None:
        there = {(*v.key, v.generation) for versions in sight.desired.versions.values() for v in versions.values()}
        self._scalers = {key: scaler for key, scaler in self._scalers.items() if key in there}


def _is_settled(status: VersionStatus, wall_s: float) -> bool:
    return status.scale is None or not status.scale.since <= wall_s < status.scale.since + SETTLED_S
