"""A real server that is told of gigabytes which never come: its process does not grow, and serves on."""

import itertools
import json
import signal
import struct

import grpc
import httpx
import psutil
import pytest
from server_process import ServerProcess

from clipper.protocols import Messages

OIP = Messages("inference")
MOST_BYTES = 32 << 20
"""Buffers, connections and the allocator's slack; one claim that is believed takes 2 GB."""


def total(rows):
    return [float(row.sum()) for row in rows]


@pytest.fixture
def server(tmp_path):
    started = ServerProcess(tmp_path / "data")
    started.cl.deploy_model("total", 1, total, input_type="doubles")
    started.cl.register_application("sum", input_type="doubles", slo_ms=20_000, models=["total"])
    yield started
    started.signal(signal.SIGTERM)
    assert started.wait() == 0


CLAIMS = [
    ("FP64", [1, 2**28], 2**31, b"x" * 20),
    ("FP64", [2**31, 2**31], 16, b"x" * 16),
    ("FP64", [2**63 - 1, 2**63 - 1], 16, b"x" * 16),
    ("INT8", [2**31 - 1, 1], 20, b"x" * 20),
    ("BYTES", [1], 20, struct.pack("<I", 2**31 - 1) + b"x" * 16),
    ("BYTES", [2**29], 20, b"\0" * 20),
    ("BYTES", [2], 20, struct.pack("<I", 12) + b"x" * 12 + struct.pack("<I", 2**32 - 1)),
]


def refused_over_rest(http, datatype, shape, size, raw):
    one = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [one]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return http.post("/v2/models/sum/infer", content=head + raw, headers=headers).status_code == 400


def refused_over_grpc(call, datatype, shape, _size, raw):
    message = OIP.ModelInferRequest(model_name="sum", raw_input_contents=[raw])
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    with pytest.raises(grpc.RpcError) as caught:
        call(message.SerializeToString(), timeout=20)
    return caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_claims_of_gigabytes_take_no_memory_and_harm_nobody(server):
    process = psutil.Process(server.process.pid)
    with (
        httpx.Client(base_url=server.query) as http,
        grpc.insecure_channel(server.cl.get_status()["grpc"]) as channel,
    ):
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        def lie(times):
            for claim in itertools.islice(itertools.cycle(CLAIMS), times):
                assert refused_over_rest(http, *claim)
                assert refused_over_grpc(call, *claim)

        lie(50)  # whatever is allocated once
        before = process.memory_info().rss
        lie(500)
        assert process.memory_info().rss - before < MOST_BYTES
        assert http.post("/sum/predict", json={"input": [1.0, 2.0]}).json()["output"] == 3.0
        assert 'code="internal_error"' not in http.get("/metrics").text
