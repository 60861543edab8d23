"""The response of the Open Inference Protocol to the bytes of a reply: JSON, perhaps with binary tensors behind it."""

from typing import Any

import msgspec

from clipper_frontends.oip.outputs import OutputTensor
from clipper_frontends.oip.request import InferRequest, RequestedOutput
from clipper_frontends.oip.response import InferResponse
from clipper_frontends.rest.reply import Reply

BINARY = b"application/octet-stream"
_encode = msgspec.json.encode


def reply_of_response(response: InferResponse, request: InferRequest) -> Reply:
    """The reply to ``request``; which outputs are binary is what its parameters ask for."""
    body: dict[str, Any] = {"model_name": response.model_name}
    if response.model_version:
        body["model_version"] = response.model_version
    if response.id:
        body["id"] = response.id
    body["parameters"] = response.parameters
    wanted = {output.name: output for output in request.outputs}
    by_default = request.parameters.get("binary_data_output") is True
    tensors: list[bytes] = []
    outputs = body["outputs"] = []
    for output in response.outputs:
        field: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if _is_binary(wanted.get(output.name), by_default=by_default):
            tensors.append(output.to_bytes())
            field["parameters"] = {"binary_data_size": len(tensors[-1])}
        else:
            field["data"] = _json_data(output)
        outputs.append(field)
    head = _encode(body)
    if not tensors:
        return Reply(200, head)
    length = (b"inference-header-content-length", b"%d" % len(head))
    return Reply(200, b"".join((head, *tensors)), (length,), BINARY)


def _is_binary(output: RequestedOutput | None, *, by_default: bool) -> bool:
    asked = output.parameters.get("binary_data") if output is not None else None
    return by_default if asked is None else asked is True


def _json_data(output: OutputTensor) -> list[Any]:
    """Flat and row-major. Elements of BYTES come from JSON, so they are text."""
    if output.datatype == "BYTES":
        return [element.decode() for element in output.data]
    data: list[Any] = output.data.reshape(-1).tolist()
    return data
