"""The response of the Open Inference Protocol to the bytes of a reply: JSON, perhaps with binary tensors behind it."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from clipper.engine.answer import Answer
from clipper_frontends.oip.names import Target
from clipper_frontends.oip.outputs import OutputTensor
from clipper_frontends.oip.request import InferRequest, RequestedOutput
from clipper_frontends.oip.response import InferResponse
from clipper_frontends.rest.reply import Reply

BINARY = b"application/octet-stream"
_NUMBER = re.compile(rb"-?[0-9]{1,17}(\.[0-9]{1,20})?")
_PLAIN = (
    b'{"model_name":"%b","parameters":{"query_id":"%b","default":false},'
    b'"outputs":[{"name":"output","datatype":"%b","shape":[1],"data":[%b]}]}'
)
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


def plain_reply(request: InferRequest, target: Target, answers: Sequence[Answer]) -> Reply | None:
    """What `reply_of_response` would make of one number of the one model; None where there is more to say.

    Most replies are this one, and writing it directly costs a quarter of the general way.
    """
    answer = answers[0]
    if len(answers) > 1 or request.id or request.outputs or request.parameters:
        return None
    if target.served_version or target.outputs:
        return None
    if answer.default or answer.models is not None or answer.missing is not None or answer.fallback is not None:
        return None
    number = _NUMBER.fullmatch(answer.output or b"")
    if number is None:
        return None
    datatype = b"INT64" if number[1] is None else b"FP64"
    return Reply(200, _PLAIN % (target.name.encode(), answer.query_id.encode(), datatype, number[0]))


def _is_binary(output: RequestedOutput | None, *, by_default: bool) -> bool:
    asked = output.parameters.get("binary_data") if output is not None else None
    return by_default if asked is None else asked is True


def _json_data(output: OutputTensor) -> list[Any]:
    """Flat and row-major. Elements of BYTES come from JSON, so they are text."""
    if output.datatype == "BYTES":
        return [element.decode() for element in output.data]
    data: list[Any] = output.data.reshape(-1).tolist()
    return data
