"""The policy of an application with one model: that model answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from clipper.selection.policy import State


class Single:
    """One linked model answers every query; feedback changes nothing."""

    name = "single"
    max_models: int | None = 1
    is_ensemble = False
    learns = False

    def distribution(self, models: Sequence[str], state: State) -> Sequence[float]:  # noqa: ARG002  # the protocol's shape
        """All of it on the one model."""
        return (1.0,) * len(models)

    def combine(self, outputs: Mapping[str, Any], state: State) -> tuple[Any, float | None]:  # noqa: ARG002  # the protocol's shape
        """The one output there is."""
        (output,) = outputs.values()
        return output, None

    def observe(
        self,
        models: Sequence[str],  # noqa: ARG002  # the protocol's shape
        chosen: str,  # noqa: ARG002  # the protocol's shape
        propensity: float,  # noqa: ARG002  # the protocol's shape
        losses: Mapping[str, float],  # noqa: ARG002  # the protocol's shape
    ) -> State:
        """Nothing to learn."""
        return {}
