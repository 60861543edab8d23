"""How long to wait before something that failed is tried again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential with "equal jitter": between half and all of ``base_s * 2^(failures - 1)``, at most ``max_s``.

    Half of each pause is drawn at random, so that replicas that died together do not start together
    (M. Brooker, "Exponential Backoff And Jitter", 2015).
    """

    base_s: float
    max_s: float

    def delay_s(self, failures: int, draw: float) -> float:
        """The pause after ``failures`` in a row (at least 1); ``draw`` is uniform in [0, 1)."""
        doublings = min(failures - 1, 64)
        ceiling_s = min(self.max_s, self.base_s * 2.0**doublings)
        return ceiling_s * (0.5 + 0.5 * draw)
