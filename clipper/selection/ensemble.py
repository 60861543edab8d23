"""What policies that ask every model have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

from clipper.selection.combining import Combining, combined, combining_for
from clipper.selection.learning import LearningPolicy
from clipper.selection.losses import Loss


class Ensemble(LearningPolicy):
    """Asks every model and combines what arrives in time."""

    is_ensemble: ClassVar[bool] = True

    def combine(self, outputs: Mapping[str, Any], weights: Mapping[str, float], loss: Loss) -> tuple[Any, float]:
        """A weighted vote or mean; see `clipper.selection.combining.combined`."""
        return combined(outputs, weights, self.way_of_combining(loss), loss)

    def way_of_combining(self, loss: Loss) -> Combining:
        """What suits the application's loss."""
        return combining_for(loss)
