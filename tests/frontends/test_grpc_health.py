"""Health and reflection, as the public packages for them ask."""

import asyncio

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_served import ServedGrpc
from tritonclient.grpc import service_pb2

from clipper.protocols import Messages, files, service_named


@pytest_asyncio.fixture
async def served():
    one = await ServedGrpc().start()
    yield one
    await one.stop()


@pytest.mark.parametrize("service", ["", "clipper.v1.Clipper"])
async def test_health_is_readiness(served, service):
    stub = health_pb2_grpc.HealthStub(served.channel)
    request = health_pb2.HealthCheckRequest(service=service)
    assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
    served.engine.readiness = (False, "Not yet.")
    assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_the_health_of_an_unknown_service_is_not_found(served):
    stub = health_pb2_grpc.HealthStub(served.channel)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_is_told_of_changes(served):
    watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    served.engine.readiness = (False, "Not yet.")
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()


async def test_reflection_describes_every_service(served):
    def ask():
        with grpc.insecure_channel(served.server.address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            names = set(database.get_services())
            return names, database.FindFileContainingSymbol("clipper.v1.Prediction").name

    names, file = await asyncio.to_thread(ask)
    assert {"clipper.v1.Clipper", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= names
    assert file == "clipper/v1/clipper.proto"


def test_our_open_inference_protocol_is_the_one_of_tritonclient_and_both_are_in_this_process():
    theirs = service_pb2.DESCRIPTOR.message_types_by_name
    ours = {m.name: m for m in files()["inference/inference.proto"].message_type}
    assert len(ours) > 20

    def shape(message):
        return {(f.name, f.number, f.type, f.label, f.type_name.rpartition(".")[2]) for f in message.field}, [
            shape(nested) for nested in message.nested_type
        ]

    for name, message in ours.items():
        proto = type(files()["inference/inference.proto"].message_type[0])()
        theirs[name].CopyToProto(proto)
        assert shape(message) == shape(proto), name
    methods = {m.name for m in service_named("inference.GRPCInferenceService").methods}
    assert methods <= {m.name for m in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods}
    sent = service_pb2.ModelInferRequest(model_name="a", id="7").SerializeToString()
    assert Messages("inference").ModelInferRequest.FromString(sent).id == "7"


async def test_a_client_that_pings_while_it_is_idle_is_not_sent_away(served):
    """A server with gRPC's defaults tells such a client "too_many_pings" and disconnects it."""
    pings = [("grpc.keepalive_time_ms", 50), ("grpc.keepalive_permit_without_calls", 1)]
    pings += [
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_time_between_pings_ms", 50),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    async with grpc.aio.insecure_channel(served.server.address, options=pings) as channel:
        await channel.channel_ready()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4.0):  # such a server does so after 3 s, however short the interval is
                await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
