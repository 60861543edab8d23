"""A gRPC server on the hand-written engine, and a client of it."""

from collections import Counter
from dataclasses import dataclass, field

import grpc
import grpc.aio
from rest_fakes import FakeEngine, FakeFeedback, FakeRepository

from clipper.protocols import Messages
from clipper_frontends.grpc.server import GrpcServer
from clipper_frontends.rest.limits import Limits

V1 = Messages("clipper.v1")
UNARY = {"Predict": "Prediction", "PredictBatch": "PredictBatchReply", "Update": "UpdateReply"}


@dataclass
class ServedGrpc:
    engine: FakeEngine = field(default_factory=FakeEngine)
    feedback: FakeFeedback = field(default_factory=FakeFeedback)
    refused: Counter = field(default_factory=Counter)
    repository: FakeRepository = field(default_factory=FakeRepository)
    limits: Limits = field(default_factory=Limits)

    async def start(self):
        self.server = GrpcServer(
            "127.0.0.1",
            0,
            engine=self.engine,
            feedback=self.feedback,
            limits=self.limits,
            refused=self.refused,
            repository=self.repository,
        )
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(self.server.address, options=[("grpc.use_local_subchannel_pool", 1)])
        return self

    async def stop(self):
        await self.channel.close()
        await self.server.stop(1.0)
        assert not self.engine.waiting

    def call(self, method, request, **options):
        """A call of ``clipper.v1``; bytes go as they are."""
        made = self.channel.unary_unary(
            f"/clipper.v1.Clipper/{method}",
            request_serializer=lambda r: r if isinstance(r, bytes) else r.SerializeToString(),
            response_deserializer=getattr(V1, UNARY[method]).FromString,
        )
        return made(request, **options)

    def predict(self, app="digits", /, *, timeout=5.0, options=(), **value):
        return self.call(
            "Predict", V1.PredictRequest(application=app, input=V1.Input(**value), **dict(options)), timeout=timeout
        )

    def stream(self):
        return self.channel.stream_stream(
            "/clipper.v1.Clipper/PredictStream",
            request_serializer=lambda r: r if isinstance(r, bytes) else r.SerializeToString(),
            response_deserializer=V1.PredictStreamReply.FromString,
        )()


def queries(*numbers, app="digits"):
    return V1.PredictStreamRequest(
        queries=[V1.PredictRequest(application=app, id=n, input=V1.Input(json=b"[%d]" % n)) for n in numbers]
    )


async def failure_of(call):
    """Status, machine code and sentence of a call that fails."""
    try:
        reply = await call
    except grpc.aio.AioRpcError as error:
        metadata = dict(error.trailing_metadata() or ())
        return error.code().name, metadata.get("clipper-code"), error.details()
    raise AssertionError(f"it was answered: {reply}")
