"""A model that answers 0 to everything: what is measured is the system around it. It needs no artifact."""

from typing import Any

from clipper_container.flavors._contract import LoadContext, Loaded


def load(context: LoadContext) -> Loaded:
    """Nothing to load."""
    return Loaded(_predict, context.manifest.input_width)


def _predict(inputs: Any) -> list[int]:
    return [0] * len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
