"""Inference of the Open Inference Protocol from a body to a reply: the same for both roads."""

from collections.abc import Callable

from clipper.domain import Query
from clipper.errors import ClipperError
from clipper_frontends.oip.inference import Inference, OneInference, Outcome, start_inference
from clipper_frontends.oip.names import Target, find_target
from clipper_frontends.oip.request import InferRequest, queries_of
from clipper_frontends.oip.response import check_outputs, response_of
from clipper_frontends.rest.infer_reply import plain_reply, reply_of_response
from clipper_frontends.rest.lane import Lane, LaneExchange, Route
from clipper_frontends.rest.reply import Reply, reply_of_error


class Asked:
    """What a request for inference asks, and how it is answered."""

    __slots__ = ("_lane", "queries", "request", "target")

    def __init__(self, lane: Lane, route: Route, body: bytes) -> None:
        """Decode a body that is complete now.

        Raises:
            NotFound: There is nothing of that name.
            BadRequest: The body is not what it takes.
        """
        self._lane = lane
        self.target: Target = find_target(lane.engine, route.application, route.version)
        self.request: InferRequest = lane.infer_reader.read(body, route.json_bytes)
        check_outputs(self.request.outputs, self.target)
        self.queries: list[Query] = queries_of(self.request, self.target, lane.clock())

    def start(self, on_reply: Callable[[Reply], None]) -> Inference | OneInference:
        """Ask the engine.

        ``on_reply`` may be called before this returns, and never after what is returned is cancelled.
        """
        return start_inference(self._lane.engine, self.queries, lambda outcome: on_reply(self._reply(outcome)))

    def _reply(self, outcome: Outcome) -> Reply:
        if isinstance(outcome, ClipperError):
            return reply_of_error(outcome)
        try:
            plain = plain_reply(self.request, self.target, outcome)
            return plain or reply_of_response(response_of(self.request, self.target, outcome), self.request)
        except Exception as error:  # noqa: BLE001  # the engine would log it, and the caller would wait for ever
            return self._lane.refusal(error)


class InferExchange(LaneExchange):
    """One request for inference on the fast lane."""

    _under_way: Inference | OneInference | None = None

    def ask(self, body: bytes) -> None:
        """Ask the engine; it may answer before this returns."""
        try:
            inference = Asked(self._lane, self._route, body).start(self._on_reply)
            if not self.done:
                self._under_way = inference
        except Exception as error:  # noqa: BLE001  # the parser would swallow it; the caller gets an answer, the log the rest
            self.answer(self._lane.refusal(error))

    def abandon(self) -> None:
        """Cancel what is under way in the engine."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.cancel()

    def _on_reply(self, reply: Reply) -> None:
        self._under_way = None
        if reply.status == 200 and not reply.headers:  # noqa: PLR2004  # nearly all
            self.prediction = reply.body
            self.done = True
            self.line.advance(self)
        else:
            self.answer(reply)
