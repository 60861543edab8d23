"""A prediction on the fast lane."""

from clipper.domain import Query
from clipper.engine.answer import Answer
from clipper.engine.ticket import Ticket
from clipper_frontends.rest.lane import LaneExchange
from clipper_frontends.rest.reply import prediction, reply_of_error
from clipper_frontends.rest.submission import BatchSubmission


class PredictExchange(LaneExchange):
    """One prediction request: a query, or a batch of them."""

    _under_way: Ticket | BatchSubmission | None = None

    def ask(self, body: bytes) -> None:
        """Ask the engine; it may answer before this returns."""
        lane = self._lane
        try:
            asked = lane.decode(self._route.application, body, self._route.json_bytes)
            if isinstance(asked, Query):
                ticket = lane.engine.submit(asked, self._on_answer)
                if not self.done:
                    self._under_way = ticket
            else:
                self._under_way = batch = BatchSubmission(lane.engine, asked, self.answer)
                batch.start()
        except Exception as error:  # noqa: BLE001  # the parser would swallow it; the caller gets an answer, the log the rest
            self.answer(lane.refusal(error))

    def abandon(self) -> None:
        """Cancel what is under way in the engine."""
        under_way, self._under_way = self._under_way, None
        if under_way is None or self.done:
            return
        if isinstance(under_way, BatchSubmission):
            under_way.cancel()
        else:
            self._lane.engine.cancel(under_way)

    def _on_answer(self, answer: Answer) -> None:
        self._under_way = None  # the ticket knows this method: a cycle that would cost a collection
        if answer.error is None or answer.default:
            self.prediction = prediction(answer)
        else:
            self.reply = reply_of_error(answer.error)
        self.done = True
        self.line.advance(self)
