"""The Open Inference Protocol over gRPC, field by field; Triton's client sends what it can, its stubs the rest."""

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from test_grpc_triton import output_of, refusal, tensor
from tritonclient.grpc import service_pb2

from clipper.protocols import file_of

SERVED = set(file_of("inference.ModelInferRequest").services_by_name["GRPCInferenceService"].methods_by_name)
OF_TRITON = [
    "ModelConfig",
    "ModelStatistics",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
]
NUMBERS = np.array([[1.0, 2.0], [-5.0, 4.0]])


def flags(rows):
    return [bool(row.sum() > 0) for row in rows]


def words(rows):
    return ["päivää" for _ in rows]


def whole(rows):
    return [int(row.sum()) for row in rows]


def pairs(rows):
    return [[row.tolist(), [0.5] * len(row)] for row in rows]


def mixed(rows):
    return [{"a": 1} if row.sum() > 0 else None for row in rows]


@pytest.fixture(scope="module")
def address(cl):
    for function in (flags, words, whole, pairs, mixed):
        cl.deploy_model(function.__name__, 1, function, input_type="doubles")
    cl.register_application("vote", input_type="doubles", slo_ms=20_000, models=["flags"], policy="majority")
    return httpx.get(f"{cl.session.admin_url}/admin/status").json()["grpc"]


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address) as client:
        yield client


def status_of(address, method, request):
    """The status that a method of Triton's service, served or not, answers with."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=bytes,
        )
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=20)
    return caught.value.code().name


def test_every_call_of_tritons_service_is_served_or_named_as_not_served():
    theirs = {method.name for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods}
    assert theirs == SERVED | set(OF_TRITON)
    assert not SERVED & set(OF_TRITON)


@pytest.mark.parametrize("method", OF_TRITON)
def test_what_triton_alone_has_is_unimplemented(address, method):
    request = getattr(service_pb2, f"{method}Request")()
    assert status_of(address, method, request) == "UNIMPLEMENTED"


def test_triton_s_client_raises_its_own_error_for_what_is_unimplemented(client):
    for call in (client.get_inference_statistics, client.get_log_settings, client.get_system_shared_memory_status):
        assert refusal(call)[0] == "StatusCode.UNIMPLEMENTED"


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize(
    ("model", "datatype", "shape", "elements"),
    [
        ("flags", "BOOL", [2], [True, False]),
        ("words", "BYTES", [2], ["päivää".encode()] * 2),
        ("whole", "INT64", [2], [3, -1]),
        ("pairs", "FP64", [2, 2, 2], [[[1, 2], [0.5, 0.5]], [[-5, 4], [0.5, 0.5]]]),
        ("mixed", "BYTES", [2], [b'{"a":1}', b"null"]),
    ],
)
def test_each_kind_of_output_has_its_datatype_raw_and_typed(client, model, datatype, shape, elements, raw):
    result = client.infer(model, [tensor(NUMBERS, raw=raw)])
    (output,) = result.get_response().outputs
    assert (output.datatype, list(output.shape)) == (datatype, shape)
    assert output_of(result).tolist() == elements


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([triton.InferRequestedOutput("a"), triton.InferRequestedOutput("b")], "has one output"),
        ([triton.InferRequestedOutput("a", class_count=3)], "'classification'"),
    ],
)
def test_outputs_that_are_not_served_are_refused(client, outputs, words):
    status, message = refusal(client.infer, "whole", [tensor(NUMBERS)], outputs=outputs)
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert words in message


def test_tensors_in_shared_memory_are_refused(client):
    shared = triton.InferInput("input", [2, 2], "FP64")
    shared.set_shared_memory("region", 32)
    output = triton.InferRequestedOutput("output")
    output.set_shared_memory("region", 32)
    for inputs, outputs in ([shared], None), ([tensor(NUMBERS)], [output]):
        status, message = refusal(client.infer, "whole", inputs, outputs=outputs)
        assert status == "StatusCode.INVALID_ARGUMENT"
        assert "shared" in message.lower()


def test_sequences_are_refused(client):
    status, message = refusal(client.infer, "whole", [tensor(NUMBERS)], sequence_id=3, sequence_start=True)
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "Sequences are not served" in message


def test_uid_and_explain_are_parameters_and_others_are_left_alone(client):
    one = [tensor(NUMBERS[:1])]
    parameters = {"uid": "user-7", "explain": True, "mine": "x"}
    response = client.infer("vote", one, parameters=parameters, priority=7).get_response()
    assert '"policy":"majority"' in response.parameters["explanation"].string_param.replace(" ", "")
    assert response.parameters["confidence"].double_param == 1.0
    assert response.parameters["models"].string_param == '["flags:1"]'
    status, message = refusal(client.infer, "vote", one, parameters={"uid": 7})
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "'uid'" in message


def test_an_id_comes_back_and_one_that_is_too_long_is_refused(client):
    assert client.infer("whole", [tensor(NUMBERS)], request_id="i" * 1024).get_response().id == "i" * 1024
    status, message = refusal(client.infer, "whole", [tensor(NUMBERS)], request_id="i" * 1025)
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "at most 1024" in message


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_messages_are_taken(client, algorithm):
    result = client.infer("whole", [tensor(NUMBERS)], compression_algorithm=algorithm)
    assert result.as_numpy("output").tolist() == [3, -1]


def test_the_index_lists_those_that_are_ready_in_the_one_repository(address, client):
    index = {(one.name, one.version): one.state for one in client.get_model_repository_index().models}
    assert index["whole", "1"] == "READY"
    assert status_of(address, "RepositoryIndex", service_pb2.RepositoryIndexRequest(repository_name="other")) == (
        "INVALID_ARGUMENT"
    )
