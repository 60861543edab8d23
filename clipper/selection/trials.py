"""A trial for arms of which little is known: until it is over, each gets its part of the queries, no less and no more.

A policy that goes by means would drop an arm after a single bad start, or give it everything after a good one.
"""

from collections.abc import Callable, Sequence

from clipper.evidence import State
from clipper.selection.learning import sums_of

TRIAL_PLAYS = 5.0
"""How often an arm must have been seen before it is compared with the others."""


def with_trials(
    arms: Sequence[str], state: State, distribution: Callable[[Sequence[str]], Sequence[float]]
) -> list[float]:
    """Give 1 / K to each arm on trial; the rest is for the others, by their ``distribution``.

    Among many arms under forgetting none may ever have `TRIAL_PLAYS`: half of its part of all feedbacks is enough.
    """
    fair = 1.0 / len(arms)
    most = max(sums_of(arms, state, "eligible"))
    enough = min(TRIAL_PLAYS, most * fair / 2.0)
    settled = [arm for arm, plays in zip(arms, sums_of(arms, state, "plays"), strict=True) if plays >= enough]
    if not settled:
        return [fair] * len(arms)
    rest = len(settled) * fair
    shares = {arm: rest * p for arm, p in zip(settled, distribution(settled), strict=True)}
    return [shares.get(arm, fair) for arm in arms]
