"""``ModelInferRequest`` and ``ModelInferResponse`` as the requests and responses that no transport owns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from clipper.domain import Query
from clipper.engine.answer import Answer
from clipper.engine.engine import Engine
from clipper.protocols import Messages
from clipper_frontends.grpc.tensors import can_be_typed, fill_contents, tensors_of
from clipper_frontends.oip.names import Target, find_target
from clipper_frontends.oip.request import InferRequest, Parameter, RequestedOutput, checked_id, queries_of
from clipper_frontends.oip.response import InferResponse, check_outputs, response_of

_messages = Messages("inference")
_Response = _messages.ModelInferResponse
_MIN_I64, _MAX_I64, _MAX_U64 = -(2**63), 2**63 - 1, 2**64 - 1


class Asked(NamedTuple):
    """A ``ModelInferRequest``, and what it asks."""

    message: Any
    request: InferRequest
    target: Target
    queries: Sequence[Query]

    def response(self, answers: Sequence[Answer]) -> Any:
        """The ``ModelInferResponse``.

        Raises:
            ModelError: An answer is not what the definition of the outputs says.
        """
        found = response_of(self.request, self.target, answers)
        return message_of(found, raw=bool(self.message.raw_input_contents))


def asked_of(message: Any, engine: Engine, arrived_s: float, time_left_ms: float | None = None) -> Asked:
    """What a message asks.

    Args:
        message: A ``ModelInferRequest``.
        engine: Who answers.
        arrived_s: When the message came, on the engine's clock.
        time_left_ms: Until the client gives up; None: it waits.

    Raises:
        ClipperError: It asks for nothing that can be served.
    """
    target = find_target(engine, message.model_name, message.model_version)
    request = request_of(message, time_left_ms)
    check_outputs(request.outputs, target)
    return Asked(message, request, target, queries_of(request, target, arrived_s))


def request_of(message: Any, time_left_ms: float | None = None) -> InferRequest:
    """The request that a message stands for.

    Args:
        message: A ``ModelInferRequest``.
        time_left_ms: Until the client gives up; None: it waits. The shorter of this and its ``timeout`` counts.

    Raises:
        ClipperError: It is none that can be served.
    """
    parameters = parameters_of(message.parameters)
    if time_left_ms is not None:
        _shorten(parameters, max(1, math.ceil(time_left_ms * 1e3)))
    outputs = [RequestedOutput(output.name, parameters_of(output.parameters)) for output in message.outputs]
    return InferRequest(tensors_of(message), checked_id(message.id), parameters, outputs)


def parameters_of(messages: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by name; one without a value is None."""
    return {
        name: getattr(message, kind) if (kind := message.WhichOneof("parameter_choice")) else None
        for name, message in messages.items()
    }


def _shorten(parameters: dict[str, Any], left_us: int) -> None:
    asked_us = parameters.get("timeout")
    # Whatever is no timeout stays, and is refused by those who know what one is.
    if asked_us is None or (type(asked_us) is int and (asked_us == 0 or asked_us > left_us)):
        parameters["timeout"] = left_us


def message_of(response: InferResponse, *, raw: bool) -> Any:
    """The ``ModelInferResponse``. Its contents are as those of the request; FP16 is raw, and all with it."""
    message = _Response(model_name=response.model_name, model_version=response.model_version, id=response.id)
    for name, value in response.parameters.items():
        set_parameter(message.parameters[name], value)
    raw = raw or not all(map(can_be_typed, response.outputs))
    for tensor in response.outputs:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            message.raw_output_contents.append(tensor.to_bytes())
        else:
            fill_contents(output.contents, tensor)
    return message


def set_parameter(message: Any, value: Parameter) -> None:
    """Write a value into an ``InferParameter``."""
    if isinstance(value, bool):
        message.bool_param = value
    elif isinstance(value, str):
        message.string_param = value
    elif isinstance(value, int) and _MIN_I64 <= value <= _MAX_I64:
        message.int64_param = value
    elif isinstance(value, int) and 0 <= value <= _MAX_U64:
        message.uint64_param = value
    else:
        message.double_param = value
