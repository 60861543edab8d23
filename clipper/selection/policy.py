"""What a selection policy is.

A policy is a pure value: it gets a state, and gives probabilities, a combined output, or a change of the state. It
reads no clock and draws no random number: the engine draws from the distribution, so that the propensity of every
choice is known.

State is additive (log-weights, counts, sums by name): a change is a mapping of the same shape that is added to it, in
any order and from any frontend, with the same result.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

State = Mapping[str, float]


class Policy(Protocol):
    """One way to choose among, or combine, the models of an application.

    ``max_models`` is how many models an application under this policy may link (None: as many as it likes);
    ``is_ensemble`` says that every model is asked and ``combine`` makes one answer of theirs; ``learns`` says that
    feedback changes the state, and that queries therefore need an id by which feedback can find them.
    """

    @property
    def name(self) -> str:
        """The name in an application's definition."""
        ...

    @property
    def max_models(self) -> int | None:
        """How many models may be linked, or None."""
        ...

    @property
    def is_ensemble(self) -> bool:
        """Whether every model answers every query."""
        ...

    @property
    def learns(self) -> bool:
        """Whether feedback changes the state."""
        ...

    def distribution(self, models: Sequence[str], state: State) -> Sequence[float]:
        """The probability of each model, in the order of ``models``. Asked once per revision of the state."""
        ...

    def combine(self, outputs: Mapping[str, Any], state: State) -> tuple[Any, float | None]:
        """One output out of those that arrived in time (never empty), and the confidence in it."""
        ...

    def observe(self, models: Sequence[str], chosen: str, propensity: float, losses: Mapping[str, float]) -> State:
        """The change that feedback makes: to be added to the state. ``propensity`` is the logged one."""
        ...
