"""The policy of an application with one model: that model answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from clipper.evidence import Change, State
from clipper.selection.policy import Observation


class Single:
    """One linked model answers every query; feedback changes nothing."""

    name = "single"
    max_models: int | None = 1
    is_ensemble = False
    learns = False
    sticky = False

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:  # noqa: ARG002  # the protocol's shape
        """All of it on the one model."""
        return (1.0,) * len(arms)

    def combine(self, outputs: Mapping[str, Any], weights: Mapping[str, float]) -> tuple[Any, float]:  # noqa: ARG002  # the protocol's shape
        """The one output there is."""
        (output,) = outputs.values()
        return output, 1.0

    def observe(self, observation: Observation) -> Change:  # noqa: ARG002  # the protocol's shape
        """Nothing to learn."""
        return {}
