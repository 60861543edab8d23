"""What feedback has taught about the models of an application: sums that any frontend may add to, in any order.

The evidence of one context (an application, or one user of it) is a few named sums for each arm. An arm is what a
selection policy chooses among: a model's name, or ``model:version`` where a new version starts anew.

Forgetting is forward decay (Cormode et al., "Forward Decay", ICDE 2009), which keeps the sums additive: a change at
position t, the number of the feedback in its context, is added times 2^((t - landmark) / half-life), and whoever reads
at position n scales by 2^-((n - landmark) / half-life). Positions count feedbacks, not seconds, so that one half-life
suits an application at any rate. The landmark moves up before a factor could overflow.
"""

from collections.abc import Mapping
from typing import Self

import msgspec

Change = Mapping[str, Mapping[str, float]]
"""Arm -> name of a sum -> what is added to it."""

State = Mapping[str, Mapping[str, float]]
"""Arm -> name -> sum, as of now. An arm without any feedback is not in it."""

_MAX_HALF_LIVES = 512.0
"""A factor stays below 2^512; sums of such terms stay far below the largest double (2^1024)."""


class Evidence(msgspec.Struct):
    """The sums of one context. ``n`` feedbacks made them; ``half_life_feedbacks`` None means that none is forgotten."""

    n: int = 0
    half_life_feedbacks: float | None = None
    landmark: int = 0
    sums: dict[str, dict[str, float]] = {}

    def add(self, change: Change, half_life_feedbacks: float | None) -> int:
        """Count one more feedback and what it changes; returns its position.

        A half-life other than before counts from here on: what came earlier keeps the weight it has by now.
        """
        self.n += 1
        if half_life_feedbacks != self.half_life_feedbacks:
            self._move_landmark()
            self.half_life_feedbacks = half_life_feedbacks
        elif self._half_lives() > _MAX_HALF_LIVES:
            self._move_landmark()
        self.add_at(self.n, change)
        return self.n

    def add_at(self, position: int, change: Change) -> None:
        """Add ``change`` as the feedback number ``position``. Any order of such calls gives the same sums to 1e-9."""
        half_life = self.half_life_feedbacks
        factor = 1.0 if half_life is None else 2.0 ** ((position - self.landmark) / half_life)
        for arm, added in change.items():
            sums = self.sums.setdefault(arm, {})
            for name, value in added.items():
                sums[name] = sums.get(name, 0.0) + value * factor

    def present(self) -> State:
        """The sums as they weigh now, after ``n`` feedbacks."""
        return self._scaled(2.0 ** -self._half_lives())

    def copy(self) -> Self:
        """Independent of this one."""
        return type(self)(self.n, self.half_life_feedbacks, self.landmark, self._scaled(1.0))

    def _half_lives(self) -> float:
        half_life = self.half_life_feedbacks
        return 0.0 if half_life is None else (self.n - self.landmark) / half_life

    def _move_landmark(self) -> None:
        self.sums = self._scaled(2.0 ** -self._half_lives())
        self.landmark = self.n

    def _scaled(self, factor: float) -> dict[str, dict[str, float]]:
        return {arm: {name: value * factor for name, value in sums.items()} for arm, sums in self.sums.items()}


def with_prior(own: State, shared: State, share: float) -> State:
    """A user's own sums plus ``share`` of everybody's."""
    arms = own.keys() | shared.keys()
    return {arm: _plus(own.get(arm, {}), shared.get(arm, {}), share) for arm in arms}


def _plus(own: Mapping[str, float], shared: Mapping[str, float], share: float) -> dict[str, float]:
    return {name: own.get(name, 0.0) + share * shared.get(name, 0.0) for name in own.keys() | shared.keys()}
