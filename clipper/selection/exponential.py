"""Exponential weights: an arm's weight is exp(-rate x its loss so far).

The arms need not have the same history. A feedback that an arm missed, because it was not linked or late, counts for it
as the *neutral* loss: the one with which an arm has exactly 1 / K of the weight. So a new arm among K starts with 1 / K
and the others keep their proportions; with each feedback of its own its place is less a loan and more its own.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from clipper.frozen import Number
from clipper.selection.learning import LearningPolicy, uniform

PRIOR_PLAYS = 5.0
"""So many plays with the neutral loss are granted to each arm where weights go by means: one bad or good start, or what
little is not forgotten yet, is no reason to drop it or to give it everything."""

_MAX_STEPS = 60
_TOLERANCE = 1e-12


class ExponentialPolicy(LearningPolicy):
    """The two ways to say how much a loss counts.

    With ``eta`` weights are exp(-eta x sum of losses), as in the literature: the longer the history, the more of it all
    goes to the best arm, however little better it is. Without, they are exp(-sharpness x mean loss): they depend on how
    good the arms are, not on how long they have been watched.
    """

    name: ClassVar[str]

    eta: Annotated[Number, Field(gt=0, le=10)] | None = None
    sharpness: Annotated[Number, Field(gt=0, le=1e4)]

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if self.eta is not None and "sharpness" in self.model_fields_set:
            raise ValueError("takes 'eta' or 'sharpness', not both")
        return self

    def weights_of_means(self, losses: Sequence[float], plays: Sequence[float]) -> list[float]:
        """The weights of arms that lost so much in so many plays, and the neutral loss in `PRIOR_PLAYS` more."""
        counts = [played + PRIOR_PLAYS for played in plays]
        scaled = [self.sharpness * lost / count for lost, count in zip(losses, counts, strict=True)]
        return _completed(scaled, [PRIOR_PLAYS / count for count in counts])


def exponential_weights(losses: Sequence[float], known: Sequence[float], rate: float) -> list[float]:
    """The weights of arms with these sums of losses, each over so many feedbacks; they sum to 1."""
    longest = max(known)
    if longest <= 0.0:
        return uniform(len(known))
    missed = [1.0 - count / longest for count in known]
    scaled = [rate * lost for lost in losses]
    return _completed(scaled, missed)


def _completed(scaled: Sequence[float], missed: Sequence[float]) -> list[float]:
    """Weights by what was lost and, for the share of feedbacks that was missed, the neutral loss."""
    if min(missed) >= 1.0:
        return uniform(len(missed))
    neutral = _neutral(scaled, missed)
    return _softmax([-(lost + share * neutral) for lost, share in zip(scaled, missed, strict=True)])


def _neutral(lost: Sequence[float], missed: Sequence[float]) -> float:
    """The loss c at which exp(-c) is the mean weight of the arms, themselves completed by their missed share of c.

    c + log mean exp(-(lost + missed * c)) is convex in c and increasing: Newton's method from a point above its root
    comes down to it and cannot overshoot.
    """
    known = [(one, share) for one, share in zip(lost, missed, strict=True) if share < 1.0]
    c = max(one / (1.0 - share) for one, share in known)
    for _ in range(_MAX_STEPS):
        exponents = [-(one + share * c) for one, share in known]
        top = max(exponents)
        terms = [math.exp(exponent - top) for exponent in exponents]
        total = math.fsum(terms)
        value = c + top + math.log(total / len(known))
        slope = math.fsum(term * (1.0 - share) for term, (_, share) in zip(terms, known, strict=True)) / total
        step = value / slope
        c -= step
        if step <= _TOLERANCE * (1.0 + c):
            break
    return c


def _softmax(exponents: Sequence[float]) -> list[float]:
    top = max(exponents)
    terms = [math.exp(exponent - top) for exponent in exponents]
    total = math.fsum(terms)
    return [term / total for term in terms]
