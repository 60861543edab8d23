"""What every batching policy answers."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class Plan(NamedTuple):
    """Take ``size`` queries behind the first ``skip`` of the queue.

    ``hopeless`` says that none of them is expected to be on time: only an idle replica runs such a batch, so that there
    is always a new sample and a model that once was slow does not lock itself out.
    """

    skip: int
    size: int
    reason: str
    hopeless: bool = False


class BatchingPolicy(Protocol):
    """Decides from the queue's deadlines and from what earlier batches took."""

    target_size: int
    """What it would take now from a queue without end; at least 1."""
    expected_size: int
    """What it expects to take when it has explored larger sizes; not smaller. Admission reckons with it."""

    def set_slo(self, slo_s: float) -> None:
        """The time that a query has from arrival to answer, without the reply margin."""

    def plan(self, start_s: float, deadlines_s: Sequence[float]) -> Plan:
        """The next batch of a replica that can start at ``start_s``. ``deadlines_s`` is sorted and not empty."""

    def observe(self, size: int, seconds: float) -> None:
        """A batch of ``size`` came back after ``seconds`` of the replica's time, transfer included."""

    def describe(self) -> dict[str, Any]:
        """Its present view, for people."""
