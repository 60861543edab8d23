"""How many replicas a version needs (pure): what its frontends measured and the time in, a number and a sentence out.

Demand follows InferLine (Crankshaw et al., SoCC'20): ``replicas = ceil(rate x scale / (throughput x rho))``. Its scale
factor, the share of a pipeline's queries that reach a model, is 1 here, because the rate is measured at the version
itself, after cache and single flight. Throughput is that of one replica at the largest batch whose run the SLO has room
for (as far as sizes were measured, see `ReplicaPool.capacity`); rho keeps it from being used up. Where the SLO is too
short for a batch to wait for the one before it, replicas have to be free when queries come: then the tail of the
waiting time decides (Erlang's C formula).

Up at once, to what the present rate needs; down to the most that was needed within the last `CALM_S`, so that what a
burst needed stays for the next one, and a rate at the edge between two numbers does not make them alternate.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from clipper.deployment import MAX_REPLICAS, ReplicaRange
from clipper.engine.load import VersionLoad

RHO = 0.8
"""The share of their throughput that replicas are planned to be used at; the rest is for bursts."""
CALM_S = 15.0
LATE_SHARE = 0.01
"""Of the queries may have to wait for longer than the SLO leaves time for."""
OVERLOAD_SHARE = 0.02
"""Once a larger share is refused or late, what is executed is all that the replicas can do."""


@dataclass(frozen=True)
class Demand:
    """What a version's queries ask for, over all frontends. Rates are per second.

    ``throughput`` is what one replica can execute (None: not measured yet), in batches of ``batch_queries`` that run
    for ``batch_s``; ``run_s`` is the run of a single query. ``overloaded``: queries are refused or late.
    """

    rate: float
    throughput: float | None
    batch_queries: float = 1.0
    batch_s: float = 0.0
    run_s: float = 0.0
    slo_s: float = math.inf
    overloaded: bool = False


@dataclass(frozen=True)
class Need:
    """So many replicas, and why."""

    replicas: int
    reason: str


def demand_of(loads: Iterable[VersionLoad], ready: int) -> Demand:
    """The demand out of what each frontend measured.

    ``ready`` is the number of replicas that executed what was executed; 0 where that has just changed.
    """
    loads = list(loads)
    rate = sum(load.arrivals_per_s for load in loads)
    executed = sum(load.executed_per_s for load in loads)
    busy = sum(load.busy for load in loads)
    measured = [load for load in loads if load.batch_s > 0]
    if not measured:
        return Demand(rate, executed / busy if busy > 0 else None)
    best = max(measured, key=lambda load: load.batch_queries / load.batch_s)
    # The first reckons with slow runs, the second with the small batches of a low load: the truth is not below either.
    throughput = max(best.batch_queries / best.batch_s, executed / busy if busy > 0 else 0.0)
    overloaded = executed > 0 and sum(load.dropped_per_s for load in loads) > OVERLOAD_SHARE * rate
    if overloaded and ready:
        # Whatever the model's own time promises: this is what the replicas and the way to them achieve.
        throughput = min(throughput, executed / ready)
    slo_s = min(load.slo_s for load in measured)
    return Demand(rate, throughput, best.batch_queries, best.batch_s, best.run_s, slo_s, overloaded)


def need_of(demand: Demand, bounds: ReplicaRange) -> Need:
    """How many replicas the demand needs, within ``bounds``."""
    if demand.throughput is None or demand.rate <= 0:
        return Need(bounds.min, f"{_number(demand.rate)} queries/s")
    said = f"{_number(demand.rate)} queries/s, {_number(demand.throughput)}/s a replica"
    for_rate = max(1, math.ceil(demand.rate / (demand.throughput * RHO) - 1e-9))
    for_slo = _replicas_for_slo(demand, for_rate)
    if demand.run_s > demand.slo_s:
        # More replicas would be late just the same.
        said += f"; a single query takes {_milliseconds(demand.run_s)}, the SLO is {_milliseconds(demand.slo_s)}"
    elif for_slo > for_rate:
        said += f"; a batch takes {_milliseconds(demand.batch_s)} of an SLO of {_milliseconds(demand.slo_s)}"
    wanted = max(for_rate, for_slo)
    replicas = bounds.clamp(wanted)
    if wanted > replicas:
        said += f"; {wanted} would be needed, {bounds.max} is the maximum"
    return Need(replicas, said)


def _replicas_for_slo(demand: Demand, at_least: int) -> int:
    """The fewest replicas with which a batch seldom waits for longer than the SLO leaves beside its own run.

    Where a batch can wait for a whole other one, it can be as large as needed, and throughput decides alone.
    """
    slack_s = demand.slo_s - demand.batch_s
    if slack_s >= demand.batch_s or slack_s < 0:
        return at_least
    batches_per_s = demand.rate / demand.batch_queries
    for replicas in range(at_least, MAX_REPLICAS):
        if waiting_share(batches_per_s, demand.batch_s, replicas, slack_s) <= LATE_SHARE:
            return replicas
    return MAX_REPLICAS


def waiting_share(arrivals_per_s: float, run_s: float, servers: int, longer_than_s: float) -> float:
    """The share of arrivals that wait for longer than that for one of the servers (M/M/c, Erlang 1917).

    Runs of a model vary less than that formula assumes, so the true share is smaller.
    """
    offered = arrivals_per_s * run_s
    if offered >= servers:
        return 1.0
    blocked = 1.0  # Erlang's B, by its recursion over the servers
    for server in range(1, servers + 1):
        blocked = offered * blocked / (server + offered * blocked)
    utilisation = offered / servers
    waiting = blocked / (1.0 - utilisation * (1.0 - blocked))
    return waiting * math.exp(-(servers - offered) * longer_than_s / run_s)


class Scaler:
    """Decides for one version, again and again. The only memory is what was needed within the last `CALM_S`."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._needs: deque[tuple[float, Need]] = deque()

    def decide(self, replicas: int, demand: Demand, bounds: ReplicaRange, now_s: float) -> Need:
        """How many replicas it shall have now. While that is ``replicas``, nothing changes.

        Args:
            replicas: How many it shall have so far.
            demand: What is measured now.
            bounds: Between which numbers.
            now_s: On any monotonic clock, the same for all calls.
        """
        need = need_of(demand, bounds)
        self._remember(need, now_s)
        if need.replicas >= replicas:
            return need
        if now_s - self._since_s < CALM_S:
            return Need(bounds.clamp(replicas), need.reason)
        return Need(bounds.clamp(min(replicas, self._most())), need.reason)

    def _remember(self, need: Need, now_s: float) -> None:
        """Only needs that no later one exceeds can decide: the others leave, so that little is kept."""
        while self._needs and self._needs[-1][1].replicas <= need.replicas:
            self._needs.pop()
        self._needs.append((now_s, need))
        while self._needs[0][0] <= now_s - CALM_S:
            self._needs.popleft()

    def _most(self) -> int:
        return self._needs[0][1].replicas


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004  # two digits say enough


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"
