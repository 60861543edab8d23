"""Every way to ask an application the same: Clipper's JSON, the Open Inference Protocol in JSON, binary and over gRPC,
and ``clipper.v1``.

A road takes rows (lists of numbers, strings, bytes, JSON values) and says what came: the outputs, or why not.
"""

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
import httpx
import numpy as np

from clipper.protocols import Messages

V1, OIP = Messages("clipper.v1"), Messages("inference")
DATATYPES = {"doubles": "FP64", "floats": "FP32", "integers": "INT32", "strings": "BYTES", "bytes": "BYTES"}
DTYPES = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2", "BOOL": "|b1", "INT8": "|i1", "INT16": "<i2", "INT32": "<i4"}
DTYPES |= {"INT64": "<i8", "UINT8": "|u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8"}
CONTENTS = {"FP64": "fp64_contents", "FP32": "fp32_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}
CONTENTS |= {"INT64": "int64_contents", "UINT64": "uint64_contents"}
CONTENTS |= dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents")
CONTENTS |= dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents")
TIMEOUT_S = 20.0


class Refusal(NamedTuple):
    """``status`` is the one of HTTP, or gRPC's name."""

    status: str
    code: str
    sentence: str


@dataclass
class Tensor:
    """An input of the protocol: elements in one flat list, and whatever shape is claimed of them."""

    datatype: str
    shape: Sequence[int]
    elements: Sequence[Any]

    def to_bytes(self) -> bytes:
        if self.datatype == "BYTES":
            return b"".join(struct.pack("<I", len(one)) + one for one in self.elements)
        return np.array(self.elements, DTYPES[self.datatype]).tobytes()


def tensor_of(input_type: str, rows: Sequence[Any]) -> Tensor:
    if input_type in {"doubles", "floats", "integers"}:
        flat = [number for row in rows for number in row]
        return Tensor(DATATYPES[input_type], [len(rows), len(rows[0])], flat)
    return Tensor("BYTES", [len(rows)], [element_of(input_type, row) for row in rows])


def element_of(input_type: str, row: Any) -> bytes:
    if input_type == "bytes":
        return row
    return (row if input_type == "strings" else json.dumps(row)).encode()


class Roads:
    """All of them to one server."""

    def __init__(self, query_url: str, grpc_address: str) -> None:
        self._http = httpx.Client(base_url=query_url, timeout=TIMEOUT_S)
        self._channel = grpc.insecure_channel(grpc_address)

    def close(self) -> None:
        self._http.close()
        self._channel.close()

    def ask(self, road: str, app: str, input_type: str, rows: Sequence[Any]) -> Any:
        """The outputs of rows that have the application's type."""
        if road in OIP_ROADS:
            return self.infer(road, app, tensor_of(input_type, rows))
        return getattr(self, road)(app, input_type, rows)

    def infer(self, road: str, app: str, tensor: Tensor) -> Any:
        """The same of a tensor that may be anything."""
        return getattr(self, road)(app, tensor)

    def clipper_json(self, app: str, input_type: str, rows: Sequence[Any]) -> Any:
        inputs = [base64.b64encode(row).decode() for row in rows] if input_type == "bytes" else list(rows)
        return self.post(app, json.dumps({"input_batch": inputs}).encode())

    def post(self, app: str, body: bytes) -> Any:
        reply = self._http.post(f"/{app}/predict", content=body, headers={"content-type": "application/json"})
        if reply.status_code != 200:
            return _refusal_of(reply)
        return [one["output"] for one in reply.json()["batch_predictions"]]

    def oip_json(self, app: str, tensor: Tensor) -> Any:
        data = [one.decode() if isinstance(one, bytes) else one for one in tensor.elements]
        one = {"name": "input", "datatype": tensor.datatype, "shape": list(tensor.shape), "data": data}
        return _output_of(self._http.post(f"/v2/models/{app}/infer", json={"inputs": [one]}))

    def oip_binary(self, app: str, tensor: Tensor) -> Any:
        raw = tensor.to_bytes()
        one = {"name": "input", "datatype": tensor.datatype, "shape": list(tensor.shape)}
        head = json.dumps({"inputs": [one | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        return _output_of(self._http.post(f"/v2/models/{app}/infer", content=head + raw, headers=headers))

    def grpc_raw(self, app: str, tensor: Tensor) -> Any:
        return self._model_infer(app, tensor, raw_input_contents=[tensor.to_bytes()])

    def grpc_typed(self, app: str, tensor: Tensor) -> Any:
        return self._model_infer(app, tensor, contents={CONTENTS[tensor.datatype]: list(tensor.elements)})

    def _model_infer(self, app: str, tensor: Tensor, *, contents: Any = None, **fields: Any) -> Any:
        message = OIP.ModelInferRequest(model_name=app, **fields)
        message.inputs.add(name="input", datatype=tensor.datatype, shape=tensor.shape, contents=contents)
        reply = self._call("inference.GRPCInferenceService/ModelInfer", message, OIP.ModelInferResponse)
        if isinstance(reply, Refusal):
            return reply
        (output,) = reply.outputs
        if reply.raw_output_contents:
            return _values(output.datatype, list(output.shape), reply.raw_output_contents[0])
        ((_field, elements),) = output.contents.ListFields()
        if output.datatype == "BYTES":
            return [element.decode() for element in elements]
        return np.array(elements).reshape(list(output.shape)).tolist()

    def v1_json(self, app: str, input_type: str, rows: Sequence[Any]) -> Any:
        texts = [json.dumps(base64.b64encode(row).decode() if input_type == "bytes" else row) for row in rows]
        return self.predict(app, [V1.Input(json=text.encode()) for text in texts])

    def v1_value(self, app: str, input_type: str, rows: Sequence[Any]) -> Any:
        """As the field that the type has of its own."""
        field = {"strings": "text", "bytes": "data"}.get(input_type, input_type)
        if field == input_type:
            rows = [np.array(row, DTYPES[DATATYPES[input_type]]).tobytes() for row in rows]
        return self.predict(app, [V1.Input(**{field: row}) for row in rows])

    def v1_numbers(self, app: str, _input_type: str, rows: Sequence[Any]) -> Any:
        return self.predict(app, [V1.Input(numbers=V1.Numbers(values=row)) for row in rows])

    def predict(self, app: str, inputs: Sequence[Any]) -> Any:
        request = V1.PredictBatchRequest(application=app, inputs=inputs)
        reply = self._call("clipper.v1.Clipper/PredictBatch", request, V1.PredictBatchReply)
        if isinstance(reply, Refusal):
            return reply
        return [json.loads(one.output) for one in reply.predictions]

    def _call(self, method: str, request: Any, reply: Any) -> Any:
        call = self._channel.unary_unary(
            f"/{method}", request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString
        )
        try:
            return call(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            code = dict(error.trailing_metadata() or ()).get("clipper-code", "")
            return Refusal(error.code().name, code, error.details())


OIP_ROADS = ("oip_json", "oip_binary", "grpc_raw", "grpc_typed")


def _refusal_of(reply: httpx.Response) -> Refusal:
    return Refusal(str(reply.status_code), reply.json()["code"], reply.json()["error"])


def _output_of(reply: httpx.Response) -> Any:
    if reply.status_code != 200:
        return _refusal_of(reply)
    (output,) = reply.json()["outputs"]
    if output["datatype"] == "BYTES":
        return output["data"]
    return np.array(output["data"]).reshape(output["shape"]).tolist()


def _values(datatype: str, shape: Sequence[int], raw: bytes) -> Any:
    if datatype != "BYTES":
        return np.frombuffer(raw, DTYPES[datatype]).reshape(shape).tolist()
    elements = []
    while raw:
        end = 4 + struct.unpack_from("<I", raw)[0]
        elements.append(raw[4:end].decode())
        raw = raw[end:]
    return elements
