"""``clipper.v1.Clipper``: queries and feedback.

Handlers take and give bytes: the messages are made here, so that what is none is refused in a sentence of ours.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from clipper.engine.answer import Answer
from clipper.engine.engine import Engine
from clipper.engine.update import Update
from clipper.errors import ClipperError, InvalidRequest
from clipper.protocols import Messages
from clipper_frontends.grpc import replies
from clipper_frontends.grpc.calls import Context, abort, as_ours, parse, time_left_ms
from clipper_frontends.grpc.gathering import Gathering
from clipper_frontends.grpc.inputs import MessageReader
from clipper_frontends.grpc.stream import PredictStreams
from clipper_frontends.rest.lane import Feedback
from clipper_frontends.rest.limits import MAX_UPDATES_PER_REQUEST
from clipper_frontends.rest.submission import SUBMITTED_AT_ONCE

NAME = "clipper.v1.Clipper"

_messages = Messages("clipper.v1")
_PredictRequest = _messages.PredictRequest


class ClipperService:
    """The calls of the service, on one engine.

    Args:
        engine: Who answers.
        feedback: Who takes feedback.
        refused: Counts requests that never became queries, by code.
        clock: The engine's.
    """

    def __init__(self, engine: Engine, feedback: Feedback, refused: Counter[str], clock: Callable[[], float]) -> None:
        self._engine = engine
        self._feedback = feedback
        self._refused = refused
        self._clock = clock
        self._reader = MessageReader()
        self._gathering = Gathering()
        self.streams = PredictStreams(engine, self._reader, refused, clock)

    def handlers(self) -> Mapping[str, Any]:
        """The methods by name, as grpc takes them."""
        return {
            "Predict": grpc.unary_unary_rpc_method_handler(self.predict),
            "PredictBatch": grpc.unary_unary_rpc_method_handler(self.predict_batch),
            "PredictStream": grpc.stream_stream_rpc_method_handler(self.streams.serve),
            "Update": grpc.unary_unary_rpc_method_handler(self.update),
        }

    async def predict(self, data: bytes, context: Context) -> bytes:
        """One query. Cancelling the call cancels it."""
        arrived_s = self._clock()
        try:
            request = parse(_PredictRequest, data)
            app = self._engine.application(request.application)
            query = self._reader.query(request, app, arrived_s, time_left_ms(context))
            await self._gathering.join(app.slo_s)
            answer = await self._engine.predict(query)
        except Exception as failure:  # noqa: BLE001  # grpc would tell the caller "Unexpected <class>"; it gets a sentence
            await abort(context, as_ours(failure, self._refused))
        if answer.error is not None and not answer.default:
            await abort(context, answer.error)
        encoded: bytes = replies.prediction(answer).SerializeToString()
        return encoded

    async def predict_batch(self, data: bytes, context: Context) -> bytes:
        """Several queries and one reply. Cancelling the call cancels all that have no answer yet."""
        arrived_s = self._clock()
        try:
            request = parse(_messages.PredictBatchRequest, data)
            app = self._engine.application(request.application)
            queries = self._reader.batch(request, app, arrived_s, time_left_ms(context))
            answers: list[Answer] = []
            async with asyncio.TaskGroup() as group:
                tasks = []
                for i, query in enumerate(queries):
                    tasks.append(group.create_task(self._engine.predict(query)))
                    if i % SUBMITTED_AT_ONCE == SUBMITTED_AT_ONCE - 1:
                        await asyncio.sleep(0)  # a large request delays nobody else long
            answers = [task.result() for task in tasks]
        except Exception as failure:  # noqa: BLE001  # as above
            await abort(context, as_ours(failure, self._refused))
        encoded: bytes = replies.batch(answers).SerializeToString()
        return encoded

    async def update(self, data: bytes, context: Context) -> bytes:
        """Feedback. Cancelled, it takes back nothing that is being committed."""
        try:
            request = parse(_messages.UpdateRequest, data)
            outcomes = await self._updated(request)
        except Exception as failure:  # noqa: BLE001  # as above
            await abort(context, as_ours(failure, self._refused))
        encoded: bytes = replies.outcome(outcomes).SerializeToString()
        return encoded

    async def _updated(self, request: Any) -> list[ClipperError | None]:
        """What came of each element."""
        app = self._engine.application(request.application)
        if not 0 < len(request.updates) <= MAX_UPDATES_PER_REQUEST:
            raise InvalidRequest(
                f"'updates' must have 1 to {MAX_UPDATES_PER_REQUEST} elements, got {len(request.updates)}."
            )
        asked: list[Update | ClipperError] = []
        for i, one in enumerate(request.updates):
            try:
                asked.append(self._reader.update(one, app, f"updates[{i}]"))
            except ClipperError as error:
                asked.append(error)
        good = [update for update in asked if isinstance(update, Update)]
        outcomes = iter(await self._feedback.update(app.name, good) if good else ())
        return [next(outcomes) if isinstance(update, Update) else update for update in asked]
