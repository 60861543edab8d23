"""How the outputs of several models become one, and how sure one can be of it."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

from clipper.selection.equality import is_number, is_vector, key_of
from clipper.selection.losses import Loss, as_float, largest

Combining = Literal["vote", "mean"]


def combining_for(loss: Loss) -> Combining:
    """What suits the application: classes are voted on, quantities are averaged."""
    return "vote" if loss.name == "zero_one" else "mean"


def combined(
    outputs: Mapping[str, Any], weights: Mapping[str, float], combining: Combining, loss: Loss
) -> tuple[Any, float]:
    """One output out of those that arrived (at least one), and the confidence in it.

    ``mean`` takes the weighted mean of numbers and of lists of as many numbers, ``vote`` the output with the most
    weight; lists of scores, which a vote could never bring together, are averaged either way. Where outputs are of
    several kinds there is nothing to average: they are voted on. What all agree on is kept as it came.

    The confidence is the weight of the members that arrived, each times how right it would be if the answer were: one
    that answered the same counts in full, one that is missing or disagrees entirely not at all.

    Args:
        outputs: JSON values by arm.
        weights: Of all arms, summing to 1.
        combining: ``vote`` or ``mean``.
        loss: The application's.
    """
    values, shares = _arrived(outputs, weights)
    keys = [key_of(value) for value in values]
    winner = _vote(keys, shares)
    if len(set(keys)) > 1 and _can_be_averaged(values, combining):
        answer = _mean(values, shares)
        agreement = _closeness(values, answer, loss)
    else:
        answer = values[keys.index(winner)]
        agreement = [float(key == winner) for key in keys]
    known = [weights.get(arm, 0.0) for arm in outputs]
    confidence = math.fsum(weight * agreed for weight, agreed in zip(known, agreement, strict=True))
    return answer, min(1.0, max(0.0, confidence))


def _arrived(outputs: Mapping[str, Any], weights: Mapping[str, float]) -> tuple[list[Any], list[float]]:
    """The outputs and their shares among themselves: equal ones where none of them has any weight."""
    known = [weights.get(arm, 0.0) for arm in outputs]
    total = math.fsum(known)
    shares = [weight / total for weight in known] if total > 0.0 else [1.0 / len(known)] * len(known)
    return list(outputs.values()), shares


def _vote(keys: Sequence[Hashable], shares: Sequence[float]) -> Hashable:
    """The key with the most weight behind it, the first of equal ones."""
    votes: dict[Hashable, list[float]] = {}
    for key, share in zip(keys, shares, strict=True):
        votes.setdefault(key, []).append(share)
    # fsum: the order in which members come must not decide between equal sums.
    return max(votes, key=lambda key: math.fsum(votes[key]))


def _can_be_averaged(values: Sequence[Any], combining: Combining) -> bool:
    if all(map(is_number, values)):
        return combining == "mean"
    if not all(map(is_vector, values)) or len({len(value) for value in values}) > 1:
        return False
    # A list of whole numbers is a list of classes to a vote; scores have fractions.
    return combining == "mean" or any(isinstance(number, float) for value in values for number in value)


def _mean(values: Sequence[Any], shares: Sequence[float]) -> Any:
    if is_number(values[0]):
        return _mean_number([as_float(value) for value in values], shares)
    return [_mean_number([as_float(number) for number in column], shares) for column in zip(*values, strict=True)]


def _mean_number(numbers: Sequence[float], shares: Sequence[float]) -> float:
    """Between the smallest and the largest, which rounding could leave."""
    mean = math.fsum(number * share for number, share in zip(numbers, shares, strict=True))
    return min(max(numbers), max(min(numbers), mean))


def _closeness(values: Sequence[Any], mean: Any, loss: Loss) -> list[float]:
    """How right each value would be if the mean were the label, in [0, 1]."""
    label = mean
    if loss.name == "zero_one" and is_vector(mean):
        label = largest(mean)
    elif loss.name == "zero_one":
        # A number is hardly ever equal to the mean: how far it lies from it is the question.
        loss = Loss("absolute", loss.low, loss.high)
    losses = [loss.of(value, label) for value in values]
    return [0.0 if one is None else 1.0 - one for one in losses]
