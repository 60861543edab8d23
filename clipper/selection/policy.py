"""What a selection policy is.

A policy is a pure value: it gets a state, and gives probabilities, a combined output, or a change of the state. It
reads no clock and draws no random number: the engine draws from the distribution, so that the propensity of every
choice is known. State is additive (see `clipper.evidence`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from clipper.evidence import Change, State


class Observation(msgspec.Struct, frozen=True):
    """What one feedback says about the arms.

    ``arms`` are those that could have been chosen. ``losses`` has those whose output is known, each in [0, 1];
    ``propensities`` has the probability with which each of these was asked: 1 for the members of an ensemble and for
    feedback by input, the logged probability of the choice otherwise.
    """

    arms: Sequence[str]
    losses: Mapping[str, float]
    propensities: Mapping[str, float]


class Policy(Protocol):
    """One way to choose among, or combine, the models of an application.

    ``max_models`` is how many models an application under this policy may link (None: as many as it likes);
    ``is_ensemble`` says that every model is asked and ``combine`` makes one answer of theirs; ``learns`` says that
    feedback is joined to queries, which therefore need an id by which it can find them; ``sticky`` says that a query
    with a uid is not drawn anew each time but by the uid: the same user gets the same model while the shares stay.
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
        """Whether feedback is joined to queries."""
        ...

    @property
    def sticky(self) -> bool:
        """Whether the uid decides instead of a draw."""
        ...

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:
        """The probability of each arm, or its weight in an ensemble, in the order of ``arms``; they sum to 1.

        Asked once per change of the state. ``state`` may hold arms that are gone and lack arms that are new.
        """
        ...

    def combine(self, outputs: Mapping[str, Any], weights: Mapping[str, float]) -> tuple[Any, float]:
        """One output out of those that arrived in time (at least one), and the confidence in it, in [0, 1].

        ``outputs`` are JSON values by arm; ``weights`` are the distribution of all arms, those missing included: what
        did not arrive lowers the confidence.
        """
        ...

    def observe(self, observation: Observation) -> Change:
        """The change that one feedback makes: it is added to the state."""
        ...
