"""``ModelStreamInfer``: many requests for inference under way on one call, each answered when it is ready."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from clipper.engine.engine import Engine
from clipper.errors import ClipperError
from clipper.protocols import Messages
from clipper_frontends.grpc.calls import Context, as_ours, parse
from clipper_frontends.grpc.infer_messages import Asked, asked_of
from clipper_frontends.grpc.streaming import AnswerStream, Streams
from clipper_frontends.oip.inference import Inference, Outcome

ASKS_FOR_FINAL = "triton_enable_empty_final_response"
IS_FINAL = "triton_final_response"
"""Triton's way to say that a request gets no further response; here each gets one, which is the last."""

_messages = Messages("inference")
_InferRequest = _messages.ModelInferRequest
_Reply = _messages.ModelStreamInferResponse


class InferStreams(Streams):
    """All streams of one server."""

    def __init__(self, engine: Engine, refused: Counter[str], clock: Callable[[], float]) -> None:
        super().__init__(refused)
        self.engine = engine
        self.clock = clock

    async def serve(self, _requests: Any, context: Context) -> None:
        """One stream, to its end. Cancelled, it cancels everything under way."""
        await self.run(_Stream(self, context))


class _Stream(AnswerStream):
    """The requests of one call."""

    def __init__(self, shared: InferStreams, context: Context) -> None:
        super().__init__(context)
        self._shared = shared
        self._inferences: dict[int, tuple[Inference, int]] = {}
        self._count = 0
        self._under_way = 0

    @property
    def under_way(self) -> int:
        return self._under_way

    async def read(self) -> None:
        context = self.context
        while (data := await context.read()) is not grpc.aio.EOF:
            self._submit(parse(_InferRequest, data), self._shared.clock())
            await self.room()

    async def send(self, ready: list[Any]) -> int:
        await self.context.write(ready[0].SerializeToString())
        return 1

    def cancel(self) -> None:
        inferences, self._inferences = self._inferences, {}
        self._under_way = 0
        for inference, _queries in inferences.values():
            inference.cancel()

    def _submit(self, message: Any, arrived_s: float) -> None:
        shared = self._shared
        try:
            asked = asked_of(message, shared.engine, arrived_s)
        except Exception as failure:  # noqa: BLE001  # one request's fault is no other's
            self.put(_refusal(message, as_ours(failure, shared.refused)))
            return
        self._count += 1
        key = self._count
        inference = Inference(shared.engine, asked.queries, partial(self._on_done, key, asked))
        self._inferences[key] = inference, len(asked.queries)
        self._under_way += len(asked.queries)
        inference.start()

    def _on_done(self, key: int, asked: Asked, outcome: Outcome) -> None:
        _inference, queries = self._inferences.pop(key)
        self._under_way -= queries
        if isinstance(outcome, ClipperError):
            self.put(_refusal(asked.message, outcome))
            return
        try:
            response = asked.response(outcome)
        except Exception as failure:  # noqa: BLE001  # as above
            self.put(_refusal(asked.message, as_ours(failure, self._shared.refused)))
            return
        self.put(_marked(_Reply(infer_response=response), asked.message))


def _refusal(message: Any, error: ClipperError) -> Any:
    """The error of one request; the response beside it says of which."""
    reply = _Reply(error_message=error.message)
    reply.infer_response.model_name = message.model_name
    reply.infer_response.model_version = message.model_version
    reply.infer_response.id = message.id
    reply.infer_response.parameters["code"].string_param = error.code
    return _marked(reply, message)


def _marked(reply: Any, message: Any) -> Any:
    if ASKS_FOR_FINAL in message.parameters and message.parameters[ASKS_FOR_FINAL].bool_param:
        reply.infer_response.parameters[IS_FINAL].bool_param = True
    return reply
