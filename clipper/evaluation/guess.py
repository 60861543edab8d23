"""A guess of each model's loss, for the doubly robust estimate."""

from collections.abc import Mapping

_HALF_LIFE_OBSERVATIONS = 500.0
_DECAY = 2.0 ** (-1.0 / _HALF_LIFE_OBSERVATIONS)


class LossGuess:
    """The mean loss of each model so far, later ones counting more; one that was never seen is taken to be in between.

    A guess that uses only earlier feedbacks cannot bias the estimate, however bad it is.
    """

    unseen_loss = 0.5

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def of(self, arm: str) -> float:
        """The guess."""
        weight, loss = self._sums.get(arm, (0.0, 0.0))
        return (loss + self.unseen_loss) / (weight + 1.0)

    def has_seen(self, arm: str) -> bool:
        """Whether any loss of it is known."""
        return arm in self._sums

    def learn(self, losses: Mapping[str, float]) -> None:
        """Take notice of these losses."""
        for arm, loss in losses.items():
            weight, total = self._sums.get(arm, (0.0, 0.0))
            self._sums[arm] = weight * _DECAY + 1.0, total * _DECAY + loss
