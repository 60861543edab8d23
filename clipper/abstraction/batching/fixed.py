"""Batches of up to a fixed size; with size 1, no batching at all."""

from collections.abc import Sequence
from typing import Any

from clipper.abstraction.batching.policy import Plan


class FixedSize:
    """Takes what is there, up to ``size``."""

    def __init__(self, size: int) -> None:
        self.target_size = self.expected_size = size

    def set_slo(self, slo_s: float) -> None:
        """Nothing depends on it."""

    def plan(self, start_s: float, deadlines_s: Sequence[float]) -> Plan:  # noqa: ARG002  the protocol has it
        """See `BatchingPolicy.plan`."""
        return Plan(0, min(self.target_size, len(deadlines_s)), "fixed size")

    def observe(self, size: int, seconds: float) -> None:
        """Nothing is learned."""

    def describe(self) -> dict[str, Any]:
        """See `BatchingPolicy.describe`."""
        return {"policy": "none" if self.target_size == 1 else "fixed", "size": self.target_size}
