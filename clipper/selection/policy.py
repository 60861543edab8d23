"""What a selection policy is.

A policy is a pure value: it gets a state, and gives probabilities, a combined output, or a change of the state. It
reads no clock and draws no random number: the engine draws from the distribution, so that the propensity of every
choice is known. State is additive (see `clipper.evidence`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from clipper.evidence import Change, State
from clipper.selection.losses import Loss


class Observation(msgspec.Struct, frozen=True):
    """What one feedback says about the arms.

    ``arms`` are those that could have been chosen. ``losses`` has those whose output is known, each in [0, 1];
    ``propensities`` has the probability with which each of these was asked: 1 for the members of an ensemble and for
    feedback by input, the logged probability of the choice otherwise.
    """

    arms: Sequence[str]
    losses: Mapping[str, float]
    propensities: Mapping[str, float]


@runtime_checkable
class Policy(Protocol):
    """One way to choose among, or combine, the models of an application.

    `clipper.selection.learning.LearningPolicy` is a base class that leaves little more than ``distribution`` to write.
    """

    @property
    def name(self) -> str:
        """The name in an application's definition."""
        ...

    @property
    def max_models(self) -> int | None:
        """How many models an application may link, or None for as many as it likes."""
        ...

    @property
    def is_ensemble(self) -> bool:
        """Whether every model answers every query and ``combine`` makes one answer of theirs."""
        ...

    @property
    def learns(self) -> bool:
        """Whether feedback is joined to queries, which then need an id by which it can find them."""
        ...

    @property
    def sticky(self) -> bool:
        """Whether the uid decides instead of a draw: a user keeps a model while the shares stay as they are."""
        ...

    @property
    def half_life_feedbacks(self) -> float | None:
        """After how many feedbacks one counts half; None: all count the same for ever."""
        ...

    @property
    def prior_feedbacks(self) -> float:
        """How many feedbacks of a user's own weigh as much as everything that is known from everybody."""
        ...

    @property
    def new_version(self) -> Literal["inherit", "restart"]:
        """Whether a new version of a model goes on with what the model has earned, or is an arm of its own."""
        ...

    def distribution(self, arms: Sequence[str], state: State) -> Sequence[float]:
        """The probability of each arm, or its weight in an ensemble, in the order of ``arms``; they sum to 1.

        Asked once per change of the state, for at least one arm. ``state`` may hold arms that are gone and lack arms
        that are new.
        """
        ...

    def combine(self, outputs: Mapping[str, Any], weights: Mapping[str, float], loss: Loss) -> tuple[Any, float]:
        """One output out of those that arrived in time (at least one), and the confidence in it, in [0, 1].

        ``outputs`` are JSON values by arm; ``weights`` are the distribution of all arms, those missing included: what
        did not arrive lowers the confidence. ``loss`` is the application's: it says what being right means.
        """
        ...

    def observe(self, observation: Observation) -> Change:
        """The change that one feedback makes: it is added to the state."""
        ...
