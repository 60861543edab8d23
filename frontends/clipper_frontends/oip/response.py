"""From answers to the response of the protocol: named tensors, and what is known of each query in parameters."""

from collections.abc import Sequence
from typing import Any

import msgspec

from clipper.engine.answer import Answer
from clipper.errors import InvalidRequest, ModelError
from clipper_frontends.oip.declared_outputs import declared_outputs
from clipper_frontends.oip.metadata import OUTPUT
from clipper_frontends.oip.names import Target
from clipper_frontends.oip.outputs import OutputTensor, inferred_output
from clipper_frontends.oip.request import InferRequest, Parameter, RequestedOutput


class InferResponse(msgspec.Struct, frozen=True, gc=False):
    """What a request is answered with. ``model_version`` is empty for an application."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Parameter]
    outputs: Sequence[OutputTensor]


def response_of(request: InferRequest, target: Target, answers: Sequence[Answer]) -> InferResponse:
    """The response to a request whose queries were all answered, perhaps with a default."""
    return InferResponse(
        target.name,
        target.served_version or "",
        request.id,
        parameters_of(answers),
        _outputs(request.outputs, target, answers),
    )


def check_outputs(requested: Sequence[RequestedOutput], target: Target) -> None:
    """Refuse outputs that there are not, before anything is asked, where that is known.

    One output without a name of its own is called what the caller calls it.

    Raises:
        InvalidRequest: The sentence says what there is.
    """
    if requested and target.outputs and target.outputs[0].name:
        _check_names(requested, target)
    elif len(requested) > 1 and (target.outputs or target.layout is None):
        raise InvalidRequest(f"Model '{target.name}' has one output; 'outputs' names {len(requested)}.")
    for output in requested:
        for parameter in ("classification", "shared_memory_region"):
            if output.parameters.get(parameter):
                raise InvalidRequest(f"The parameter '{parameter}' of output '{output.name}' is not served.")


def _check_names(requested: Sequence[RequestedOutput], target: Target) -> None:
    there_are = [tensor.name for tensor in target.outputs]
    for output in requested:
        if output.name not in there_are:
            raise InvalidRequest(f"Model '{target.name}' has no output '{output.name}'; it has {', '.join(there_are)}.")


def parameters_of(answers: Sequence[Answer]) -> dict[str, Parameter]:
    """What is known of the queries beside their outputs.

    Of one query they are values; of several a JSON list each, as text, because the protocol has no lists there, under
    names in the plural. Lists that would have nothing to say are left out.
    """
    if len(answers) == 1:
        return _parameters_of_one(answers[0])
    parameters: dict[str, Parameter] = {"query_ids": _json([answer.query_id for answer in answers])}
    columns: dict[str, list[Any]] = {
        "defaults": [answer.default or None for answer in answers],
        "default_explanations": [answer.default_explanation for answer in answers],
        "models": [answer.models for answer in answers],
        "confidences": [answer.confidence for answer in answers],
        "missing": [answer.missing or None for answer in answers],
        "explanations": [answer.explanation for answer in answers],
    }
    for name, values in columns.items():
        if any(value is not None for value in values):
            parameters[name] = _json([bool(v) for v in values] if name == "defaults" else values)
    return parameters


def _parameters_of_one(answer: Answer) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {"query_id": answer.query_id, "default": answer.default}
    if answer.default:
        parameters["default_explanation"] = answer.default_explanation or ""
    if answer.models is not None:
        parameters["models"] = _json(answer.models)
    if answer.confidence is not None:
        parameters["confidence"] = answer.confidence
    if answer.missing is not None:
        parameters["missing"] = _json(answer.missing)
    if answer.fallback is not None:
        parameters["fallback_explanation"] = f"{answer.fallback.code}: {answer.fallback.message}"
    if answer.explanation is not None:
        parameters["explanation"] = _json(answer.explanation)
    return parameters


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _outputs(requested: Sequence[RequestedOutput], target: Target, answers: Sequence[Answer]) -> list[OutputTensor]:
    fragments = [answer.output if answer.output is not None else b"null" for answer in answers]
    values = msgspec.json.decode(b"[%b]" % b",".join(fragments))
    name = requested[0].name if requested else OUTPUT
    if target.outputs:
        return _wanted(requested, _declared(values, target, name, answers), answers)
    if target.layout is not None and (columns := _columns(values)):
        return _wanted(requested, [inferred_output(*column) for column in columns.items()], answers)
    return [inferred_output(name, values)]


def _declared(values: list[Any], target: Target, name: str, answers: Sequence[Answer]) -> list[OutputTensor]:
    try:
        return declared_outputs(values, target.outputs, name)
    except ModelError:
        if not any(answer.default for answer in answers):
            raise
        return [inferred_output(name, values)]  # a default need not look like what it stands for


def _columns(values: Sequence[Any]) -> dict[str, list[Any]] | None:
    """Each output of a model with several, where every answer has the same."""
    first = values[0]
    if not isinstance(first, dict) or any(not isinstance(v, dict) or v.keys() != first.keys() for v in values):
        return None
    return {name: [value[name] for value in values] for name in first}


def _wanted(
    requested: Sequence[RequestedOutput], tensors: list[OutputTensor], answers: Sequence[Answer]
) -> list[OutputTensor]:
    """Those that are asked for; all of a default, which need not have them."""
    if not requested:
        return tensors
    by_name = {tensor.name: tensor for tensor in tensors}
    for output in requested:
        if output.name not in by_name:
            if any(answer.default for answer in answers):
                return tensors
            raise InvalidRequest(f"There is no output '{output.name}'; there is {', '.join(by_name)}.")
    return [by_name[output.name] for output in requested]
