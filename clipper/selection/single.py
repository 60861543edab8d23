"""The policy of an application with one model: that model answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from clipper.evidence import Change, State
from clipper.selection.losses import Loss
from clipper.selection.policy import Observation


class Single:
    """One linked model answers every query; feedback changes nothing."""

    name = "single"
    max_models: int | None = 1
    is_ensemble = False
    learns = False
    sticky = False
    half_life_feedbacks: float | None = None
    prior_feedbacks = 0.0
    new_version: Literal["inherit", "restart"] = "inherit"

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:  # noqa: ARG002  # the protocol's shape
        """All of it on the one model."""
        return (1.0,) * len(arms)

    def combine(self, outputs: Mapping[str, Any], weights: Mapping[str, float], loss: Loss) -> tuple[Any, float]:  # noqa: ARG002  # the protocol's shape
        """The one output there is."""
        (output,) = outputs.values()
        return output, 1.0

    def observe(self, observation: Observation) -> Change:  # noqa: ARG002  # the protocol's shape
        """Nothing to learn."""
        return {}
