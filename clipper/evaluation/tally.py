"""Running sums of the estimators, for one candidate.

With pi the candidate's probabilities, p the logged ones, l a loss and q a guess of it made from earlier feedbacks, a
feedback contributes

- to inverse propensity (Horvitz and Thompson, JASA 1952)   sum over the asked of  pi / p * l
- to the doubly robust estimate                             sum over the asked of  pi / p * (l - q)  +  sum of  pi * q

(Dudik, Langford and Li, "Doubly Robust Policy Evaluation and Learning", ICML 2011). Both are right in expectation
because p is known; the better q, the less the second one varies. Where every model was asked p is 1: nothing is
estimated. The self-normalised estimate divides the first by the mean of pi / p (Swaminathan and Joachims, NIPS 2015).
"""

from collections.abc import Callable, Mapping

from clipper.evaluation.event import Event
from clipper.evaluation.guess import LossGuess
from clipper.evaluation.moments import Moments, normal_interval, share_interval
from clipper.evaluation.results import Estimate, Interval, Kind

MAX_UNSUPPORTED = 0.5
"""A candidate of whose choices the log supports less than the rest of this gets no estimate, only bounds."""


class _Mean:
    """A mean over feedbacks some of whose probability the log knows nothing about."""

    def __init__(self) -> None:
        self.terms = Moments()
        self.unsupported = 0.0
        self.unseen: dict[str, float] = {}

    def add(self, term: float, unsupported: float, unseen: Mapping[str, float]) -> None:
        self.terms.add(term)
        self.unsupported += unsupported
        for arm, probability in unseen.items():
            self.unseen[arm] = self.unseen.get(arm, 0.0) + probability

    def settle(self, guess: LossGuess) -> tuple[float, float]:
        """The mean of the supported part, and the share that is not: arms that the log never shows are not, either."""
        never = sum(probability for arm, probability in self.unseen.items() if not guess.has_seen(arm))
        count = self.terms.count
        return self.terms.mean - guess.unseen_loss * never / count, min(1.0, (self.unsupported + never) / count)


class Tally:
    """One candidate's sums. ``guess`` is shared by all candidates and told of a feedback after they were."""

    def __init__(self, name: str, kind: Kind, guess: LossGuess) -> None:
        self.name = name
        self.kind = kind
        self.fault: str | None = None
        self._guess = guess
        self._loss = _Mean()
        self._difference = _Mean()
        self._answered = 0.0
        self._inverse = 0.0
        self._weight = 0.0
        self._weight_squares = 0.0
        self._largest_weight = 0.0

    def add_choice(self, event: Event, probabilities: Mapping[str, float]) -> None:
        """A feedback on which the candidate would have chosen one model, with those probabilities."""
        term, inverse, weight = 0.0, 0.0, 0.0
        for arm, loss in event.earned.items():
            ratio = probabilities.get(arm, 0.0) / event.propensities[arm]
            guess = self._guess.of(arm) if event.drawn else 0.0
            term += ratio * (loss - guess)
            inverse += ratio * loss
            weight += ratio
        chosen = {arm: p for arm, p in probabilities.items() if p > 0.0}
        unseen = {}
        if event.drawn:
            term += sum(p * self._guess.of(arm) for arm, p in chosen.items() if arm in event.supported)
            unseen = {a: p for a, p in chosen.items() if a in event.supported and not self._guess.has_seen(a)}
        unsupported = sum(p for arm, p in chosen.items() if arm not in event.supported)
        self._add(event, term, inverse, weight, unsupported, unseen)

    def add_answer(self, event: Event, loss: float | None) -> None:
        """A feedback on which the candidate would have combined all models; ``loss`` None where the log cannot say."""
        if loss is None:
            self._add(event, 0.0, 0.0, 0.0, 1.0, {})
        else:
            self._add(event, loss, loss, 1.0, 0.0, {})

    def _add(
        self,
        event: Event,
        term: float,
        inverse: float,
        weight: float,
        unsupported: float,
        unseen: Mapping[str, float],
    ) -> None:
        self._loss.add(term, unsupported, unseen)
        if event.answer_loss is not None:
            self._difference.add(term - event.answer_loss, unsupported, unseen)
            self._answered += event.answer_loss
        self._inverse += inverse
        self._weight += weight
        self._weight_squares += weight * weight
        self._largest_weight = max(self._largest_weight, weight)

    def estimate(self, confidence: float, *, are_shares: bool) -> Estimate:
        """What comes of it. ``are_shares``: every loss was 0 or 1."""
        effective = self._weight * self._weight / self._weight_squares if self._weight_squares else 0.0

        def around_loss(mean: float, variance: float) -> Interval:
            if are_shares:
                return share_interval(mean, variance, effective, confidence)
            return normal_interval(mean, variance, confidence)

        loss, interval, unsupported = self._settled(self._loss, around_loss, 0.0)
        difference, difference_interval, _ = self._settled(
            self._difference,
            lambda mean, variance: normal_interval(mean, variance, confidence),
            self._answered / max(1, self._difference.terms.count),
        )
        silent = self.fault is not None
        return Estimate(
            name=self.name,
            kind=self.kind,
            loss=None if silent else loss,
            interval=None if silent else interval,
            difference=None if silent else difference,
            difference_interval=None if silent else difference_interval,
            inverse_propensity=None if silent or not effective else self._inverse / self._loss.terms.count,
            self_normalised=None if silent or not effective else self._inverse / self._weight,
            unsupported=unsupported,
            effective_count=effective,
            largest_weight=self._largest_weight,
            fault=self.fault,
        )

    def _settled(
        self, mean: _Mean, around: Callable[[float, float], Interval], baseline: float
    ) -> tuple[float | None, Interval | None, float]:
        """The estimate of a loss less ``baseline``, its interval, and the unsupported share.

        The estimate takes the unsupported choices for as good as the others, the interval for anything from 0 to 1.
        """
        if not mean.terms.count:
            return None, None, 1.0
        value, unsupported = mean.settle(self._guess)
        interval = around(value, mean.terms.variance_of_mean).widened(0.0, unsupported)
        interval = interval.within(-baseline, 1.0 - baseline)
        if unsupported > MAX_UNSUPPORTED:
            return None, interval, unsupported
        loss = (value + baseline) / (1.0 - unsupported)
        return min(1.0, max(0.0, loss)) - baseline, interval, unsupported
