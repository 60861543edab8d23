"""``inference.GRPCInferenceService``: the Open Inference Protocol."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import grpc

from clipper.engine.engine import Engine
from clipper.errors import ClipperError, InvalidRequest, UnknownModel, UnknownVersion
from clipper.protocols import Messages
from clipper_frontends.grpc.calls import Context, abort, as_ours, parse, time_left_ms
from clipper_frontends.grpc.gathering import Gathering
from clipper_frontends.grpc.infer_messages import asked_of, parameters_of
from clipper_frontends.grpc.infer_stream import InferStreams
from clipper_frontends.oip.inference import infer
from clipper_frontends.oip.metadata import TensorMetadata, is_ready, model_metadata, server_metadata
from clipper_frontends.oip.names import find_target
from clipper_frontends.oip.repository import Action, Repository, change_of, repository_index

NAME = "inference.GRPCInferenceService"

_messages = Messages("inference")
_InferRequest = _messages.ModelInferRequest
_TensorMetadata = _messages.ModelMetadataResponse.TensorMetadata

Method = Callable[[Any, Context], Awaitable[Any]]


class InferenceService:
    """The calls of the service, on one engine.

    Args:
        engine: Who answers.
        refused: Counts requests that never became queries, by code.
        clock: The engine's.
        repository: Who loads and unloads models.
    """

    def __init__(
        self, engine: Engine, refused: Counter[str], clock: Callable[[], float], repository: Repository
    ) -> None:
        self._engine = engine
        self._repository = repository
        self._refused = refused
        self._clock = clock
        self._gathering = Gathering()
        self.streams = InferStreams(engine, refused, clock)

    def handlers(self) -> Mapping[str, Any]:
        """The methods by name, as grpc takes them."""
        unary: dict[str, Method] = {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "RepositoryIndex": self.index,
            "RepositoryModelLoad": self.load,
            "RepositoryModelUnload": self.unload,
        }
        return {
            **{name: grpc.unary_unary_rpc_method_handler(self._with_messages(name, unary[name])) for name in unary},
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self.model_infer),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self.streams.serve),
        }

    def _with_messages(self, name: str, method: Method) -> Callable[[bytes, Context], Awaitable[bytes]]:
        """A method of messages as one of bytes, whose failures are errors with a sentence."""
        request_class = getattr(_messages, f"{name}Request")

        async def call(data: bytes, context: Context) -> bytes:
            try:
                encoded: bytes = (await method(parse(request_class, data), context)).SerializeToString()
            except Exception as failure:  # noqa: BLE001  # grpc would tell the caller "Unexpected <class>"; it gets a sentence
                await abort(context, as_ours(failure, self._refused))
            return encoded

        return call

    async def model_infer(self, data: bytes, context: Context) -> bytes:
        """The answers to a batch. Cancelling the call cancels its queries."""
        arrived_s = self._clock()
        try:
            asked = asked_of(parse(_InferRequest, data), self._engine, arrived_s, time_left_ms(context))
        except Exception as failure:  # noqa: BLE001  # as above
            await abort(context, as_ours(failure, self._refused))
        try:
            if len(asked.queries) == 1:
                await self._gathering.join(asked.target.app.slo_s)
            answers = await infer(self._engine, asked.queries)
        except ClipperError as error:
            await abort(context, error)  # the engine has counted it
        try:
            encoded: bytes = asked.response(answers).SerializeToString()
        except Exception as failure:  # noqa: BLE001  # as above
            await abort(context, as_ours(failure, self._refused))
        return encoded

    async def server_live(self, _request: Any, _context: Context) -> Any:
        """It is."""
        return _messages.ServerLiveResponse(live=True)

    async def server_ready(self, _request: Any, _context: Context) -> Any:
        """Whether queries are served."""
        ready, _why = self._engine.ready()
        return _messages.ServerReadyResponse(ready=ready)

    async def model_ready(self, request: Any, _context: Context) -> Any:
        """Whether a model would answer. One that there is not is not ready, as Triton has it: who waits may go on."""
        try:
            ready = is_ready(self._engine, find_target(self._engine, request.name, request.version))
        except (UnknownModel, UnknownVersion):
            ready = False
        return _messages.ModelReadyResponse(ready=ready)

    async def server_metadata(self, _request: Any, _context: Context) -> Any:
        """Name, version and extensions."""
        return _messages.ServerMetadataResponse(**server_metadata()._asdict())

    async def model_metadata(self, request: Any, _context: Context) -> Any:
        """Inputs and outputs."""
        found = model_metadata(self._engine, find_target(self._engine, request.name, request.version))
        return _messages.ModelMetadataResponse(
            name=found.name,
            versions=found.versions,
            platform=found.platform,
            inputs=_tensors(found.inputs),
            outputs=_tensors(found.outputs),
        )

    async def index(self, request: Any, _context: Context) -> Any:
        """The versions of all models."""
        _check_repository(request)
        entries = repository_index(self._engine, only_ready=request.ready)
        return _messages.RepositoryIndexResponse(
            models=[_messages.RepositoryIndexResponse.ModelIndex(**entry._asdict()) for entry in entries]
        )

    async def load(self, request: Any, context: Context) -> Any:
        """Start a model; the reply comes when it serves."""
        await self._change("load", request, context)
        return _messages.RepositoryModelLoadResponse()

    async def unload(self, request: Any, context: Context) -> Any:
        """Stop a model."""
        await self._change("unload", request, context)
        return _messages.RepositoryModelUnloadResponse()

    async def _change(self, action: Action, request: Any, context: Context) -> None:
        _check_repository(request)
        metadata = dict(context.invocation_metadata())
        asked = change_of(
            action,
            request.model_name,
            parameters_of(request.parameters),
            authorization=str(metadata.get("authorization", "")),
        )
        await self._repository.carry_out(asked)


def _tensors(tensors: Iterable[TensorMetadata]) -> list[Any]:
    return [_TensorMetadata(**tensor._asdict()) for tensor in tensors]


def _check_repository(request: Any) -> None:
    if request.repository_name:
        raise InvalidRequest(f"There is one repository here, without a name; got '{request.repository_name}'.")
