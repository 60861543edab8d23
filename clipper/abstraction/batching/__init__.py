"""Batching policies: how many of the waiting queries a replica takes next. Pure; one instance per replica."""

from clipper.abstraction.batching.aimd import Aimd
from clipper.abstraction.batching.deadline import DeadlineBatching
from clipper.abstraction.batching.delay import hold_until
from clipper.abstraction.batching.fixed import FixedSize
from clipper.abstraction.batching.latency import LatencyModel
from clipper.abstraction.batching.policy import BatchingPolicy, Plan
from clipper.abstraction.batching.quantile import QuantileRegression
from clipper.domain import Batching

__all__ = [
    "Aimd",
    "BatchingPolicy",
    "DeadlineBatching",
    "FixedSize",
    "LatencyModel",
    "Plan",
    "QuantileRegression",
    "hold_until",
    "make_policy",
]


def make_policy(batching: Batching, latency: LatencyModel, slo_s: float) -> BatchingPolicy:
    """The policy that a version asked for, for one replica whose run times ``latency`` knows."""
    match batching.policy:
        case "none":
            return FixedSize(1)
        case "fixed":
            return FixedSize(batching.size or 1)
        case "aimd":
            return Aimd(slo_s, batching.max_batch_size)
        case "quantile":
            return QuantileRegression(slo_s, batching.max_batch_size)
        case "deadline":
            return DeadlineBatching(slo_s, batching.max_batch_size, latency)
