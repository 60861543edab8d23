"""What a policy made of one context: the probability, or weight, of each arm; checked, and ready to be drawn from."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from numbers import Real
from typing import Final

import msgspec

from clipper.errors import PolicyFailed
from clipper.evidence import State
from clipper.selection import Policy

SUM_TOLERANCE: Final = 1e-6


class Distribution(msgspec.Struct, frozen=True, eq=False):
    """Probabilities in the order of ``arms``; what a draw needs is worked out once.

    ``mean_losses`` has those of the arms of which any loss is known. ``fault`` is set where the policy raised or
    returned nonsense; then there are no probabilities, and the application's fallback decides.
    """

    arms: tuple[str, ...]
    probabilities: tuple[float, ...]
    cumulative: list[float]
    weights: dict[str, float]
    mean_losses: dict[str, float]
    fault: PolicyFailed | None = None

    def draw(self, point: float) -> int:
        """The index of the arm at ``point``, a number in [0, 1). An arm of probability 0 is never drawn."""
        return bisect_right(self.cumulative, point, 0, len(self.cumulative) - 1)

    def best_of(self, arms: Iterable[str]) -> str | None:
        """The one of these arms with the lowest mean loss so far; None while no loss of any of them is known."""
        losses = self.mean_losses
        return min((arm for arm in arms if arm in losses), key=losses.__getitem__, default=None)


def distribution_of(policy: Policy, arms: tuple[str, ...], state: State) -> Distribution:
    """What ``policy`` says for these arms in that state. It never raises, whatever the policy does."""
    losses = {arm: s["loss"] / s["plays"] for arm in arms if (s := state.get(arm)) and s.get("plays", 0.0) > 0.0}
    try:
        return _with_probabilities(arms, _checked(policy.name, arms, policy.distribution(arms, state)), losses)
    except PolicyFailed as fault:
        return _faulty(arms, losses, fault)
    except Exception as error:  # noqa: BLE001  # a user's code; the queries must be answered all the same
        sentence = f"The policy '{policy.name}' raised in distribution(): {type(error).__name__}: {error}"
        return _faulty(arms, losses, PolicyFailed(sentence))


def restricted(distribution: Distribution, arms: tuple[str, ...]) -> Distribution | None:
    """The distribution among some of its arms, in proportion; None where none of them could be drawn."""
    if distribution.fault is not None:
        return _faulty(arms, distribution.mean_losses, distribution.fault)
    total = math.fsum(distribution.weights[arm] for arm in arms)
    if total <= 0:
        return None
    return _with_probabilities(arms, tuple(distribution.weights[arm] / total for arm in arms), distribution.mean_losses)


def _with_probabilities(
    arms: tuple[str, ...], probabilities: tuple[float, ...], mean_losses: dict[str, float]
) -> Distribution:
    cumulative = list(accumulate(probabilities))
    while len(cumulative) > 1 and cumulative[-1] == cumulative[-2]:
        cumulative.pop()  # so that no rounding can make a point reach an arm of probability 0 at the end
    return Distribution(arms, probabilities, cumulative, dict(zip(arms, probabilities, strict=True)), mean_losses)


def _faulty(arms: tuple[str, ...], mean_losses: dict[str, float], fault: PolicyFailed) -> Distribution:
    return Distribution(arms, (), [], {}, mean_losses, fault.with_traceback(None))  # kept; its frames must not be


def _checked(name: str, arms: Sequence[str], said: object) -> tuple[float, ...]:
    """Probabilities that sum to 1 as nearly as floats can, of what the policy returned."""
    if not isinstance(said, Iterable) or isinstance(said, str | bytes | Mapping):
        raise PolicyFailed(f"The policy '{name}' returned {type(said).__name__} instead of a list of probabilities.")
    values = list(said)
    if len(values) != len(arms):
        raise PolicyFailed(f"The policy '{name}' returned {len(values)} probabilities for {len(arms)} models.")
    for arm, value in zip(arms, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            raise PolicyFailed(
                f"The policy '{name}' gave the model '{arm}' {value!r} instead of a probability from 0 to 1."
            )
    probabilities = [float(value) for value in values]
    total = math.fsum(probabilities)
    if abs(total - 1) > SUM_TOLERANCE:
        raise PolicyFailed(f"The policy '{name}' returned probabilities that sum to {total:g} instead of 1.")
    return tuple(probability / total for probability in probabilities)
