"""Several candidates beside each other, over one log."""

from collections.abc import Sequence

from clipper.errors import InvalidRequest
from clipper.evaluation.candidates import Candidate
from clipper.evaluation.event import Event, event_of
from clipper.evaluation.guess import LossGuess
from clipper.evaluation.moments import Moments, normal_interval, share_interval
from clipper.evaluation.results import Interval, Result
from clipper.evaluation.tally import Tally
from clipper.feedback import FeedbackRecord

CONFIDENCE = 0.95


class Evaluation:
    """Takes the log of an application, oldest first, and says what each candidate would have earned with it.

    Memory is bounded by the candidates (each holds the evidence of `clipper.evaluation.learner.MAX_USERS` users at
    most), not by the log.
    """

    def __init__(self, models: Sequence[str], candidates: Sequence[Candidate], confidence: float = CONFIDENCE) -> None:
        if not models:
            raise InvalidRequest("There is nothing to choose among: no model is linked to the application.")
        self._models = tuple(models)
        self._confidence = confidence
        self._guess = LossGuess()
        self._running = [(candidate, Tally(candidate.name, candidate.kind, self._guess)) for candidate in candidates]
        self._answered = Moments()
        self._are_shares = True
        self._complete = 0
        self._feedbacks = 0
        self._left_out = 0

    def add(self, record: FeedbackRecord) -> None:
        """One more feedback, accepted after those before."""
        event = event_of(record, self._models)
        if event is None:
            self._left_out += 1
            return
        self._feedbacks += 1
        self._complete += event.complete
        if event.answer_loss is not None:
            self._answered.add(event.answer_loss)
        self._are_shares &= all(loss in {0.0, 1.0} for loss in (*event.earned.values(), event.answer_loss or 0.0))
        for candidate, tally in self._running:
            if tally.fault is None:
                _show(candidate, tally, event)
        self._guess.learn(event.earned)

    def result(self) -> Result:
        """What is known by now."""
        answered = self._answered
        return Result(
            feedbacks=self._feedbacks,
            complete=self._complete,
            left_out=self._left_out,
            confidence=self._confidence,
            answered_count=answered.count,
            answered=answered.mean if answered.count else None,
            answered_interval=self._answered_interval() if answered.count else None,
            estimates=[tally.estimate(self._confidence, are_shares=self._are_shares) for _, tally in self._running],
        )

    def _answered_interval(self) -> Interval:
        it = self._answered
        if self._are_shares:
            return share_interval(it.mean, it.variance_of_mean, it.count, self._confidence)
        return normal_interval(it.mean, it.variance_of_mean, self._confidence).within(0.0, 1.0)


def _show(candidate: Candidate, tally: Tally, event: Event) -> None:
    """Let a candidate decide on an event and learn from it; one that raises is left out from here on."""
    try:
        probabilities = candidate.probabilities(event)
        if candidate.kind == "ensemble":
            tally.add_answer(event, candidate.loss(event, probabilities))
        else:
            tally.add_choice(event, probabilities)
        candidate.learn(event, probabilities)
    except Exception as error:  # noqa: BLE001  # a user's policy may raise anything; the others are still of interest
        tally.fault = f"{type(error).__name__}: {error}"
