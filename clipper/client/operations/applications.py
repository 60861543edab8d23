"""Applications and the models linked to them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from clipper.client.paths import path
from clipper.client.steps import Request, Session, Steps
from clipper.domain import InputType
from clipper.json_encoding import encode
from clipper.tensors import TensorLike, plain


class _NoDefault:
    def __repr__(self) -> str:
        return "NO_DEFAULT"


NO_DEFAULT: Final[Any] = _NoDefault()
"""An application registered with this has no default output, which is not the same as a default of None (null)."""


def register_application(
    _session: Session,
    name: str,
    *,
    input_type: InputType,
    slo_ms: float,
    default_output: Any = NO_DEFAULT,
    policy: str | Mapping[str, Any] = "single",
    models: str | Sequence[str] = (),
    min_confidence: float | None = None,
    loss: str | None = None,
    loss_range: tuple[float, float] | None = None,
    log_inputs: str | None = None,
    inputs: Sequence[TensorLike] = (),
    outputs: Sequence[TensorLike] = (),
) -> Steps[dict[str, Any]]:
    """Register an application; queries can be sent to it from then on.

    Args:
        name: Lower-case letters, digits and dashes.
        input_type: ``doubles``, ``floats``, ``integers``, ``strings``, ``bytes``, ``json`` or ``tensors``.
        slo_ms: The latency that every answer keeps.
        default_output: Answers where no model can in time; any JSON value, None too. Without it such queries fail.
        policy: How one of the models is chosen, or how they are combined: its name, or a dict such as
            ``{"name": "exp3", "options": {"eta": 0.1}}``; ``single`` takes one model.
        models: The model or models to link; they exist already.
        min_confidence: Below this confidence of an ensemble the default output answers.
        loss: How a label is compared with an output: ``zero_one``, ``squared`` or ``absolute``.
        loss_range: The ``squared`` or ``absolute`` errors that count as no loss and as all of it; (0, 1) by default.
        log_inputs: What the feedback log keeps of inputs: ``none``, ``digest`` or ``full``.
        inputs: The tensors of one query, of the input type ``tensors``; by default those of its models.
        outputs: The tensors of one answer, where those of the model are not what shall be known beforehand.

    Returns:
        The application as the server has it.

    Raises:
        AlreadyExists: There is an application of that name.
        UnknownModel: One of the models does not exist.
        InputTypeMismatch: One of the models takes other inputs.
        InvalidRequest: A value is missing or out of range.
    """
    optional = {"min_confidence": min_confidence, "loss": loss, "loss_range": loss_range, "log_inputs": log_inputs}
    body: dict[str, Any] = {"name": name, "input_type": input_type, "slo_ms": slo_ms, "policy": policy}
    body["models"] = [models] if isinstance(models, str) else list(models)
    body |= {key: value for key, value in optional.items() if value is not None}
    for field, tensors in (("inputs", inputs), ("outputs", outputs)):
        if tensors:
            body[field] = plain(tensors)
    if default_output is not NO_DEFAULT:
        body["default_output"] = default_output
    reply = yield Request("POST", "/admin/apps", body=encode(body))
    info: dict[str, Any] = reply.json()
    return info


def update_application(_session: Session, /, name: str, **changes: Any) -> Steps[dict[str, Any]]:
    """Change an application: ``slo_ms=50``, ``default_output=0``, ``policy="exp3"``, ... What is not named stays.

    Raises:
        UnknownApplication: There is no such application.
        InvalidRequest: A value is out of range, or it cannot be changed.
    """
    reply = yield Request("PATCH", path("apps", name), body=encode(changes))
    info: dict[str, Any] = reply.json()
    return info


def unregister_application(_session: Session, name: str) -> Steps[None]:
    """Remove an application; its models stay.

    Raises:
        UnknownApplication: There is no such application.
    """
    reply = yield Request("DELETE", path("apps", name))
    reply.json()


def get_all_apps(_session: Session, *, verbose: bool = False) -> Steps[list[Any]]:
    """The names of all applications, or with ``verbose`` each one's description."""
    reply = yield Request("GET", path("apps"), repeatable=True)
    apps = reply.json()
    return list(apps) if verbose else [app["name"] for app in apps]


def get_app_info(_session: Session, name: str) -> Steps[dict[str, Any]]:
    """The description of one application.

    Raises:
        UnknownApplication: There is no such application.
    """
    reply = yield Request("GET", path("apps", name), repeatable=True)
    info: dict[str, Any] = reply.json()
    return info


def get_linked_models(session: Session, name: str) -> Steps[list[str]]:
    """The names of the models that answer for an application.

    Raises:
        UnknownApplication: There is no such application.
    """
    info = yield from get_app_info(session, name)
    return list(info["models"])


def link_model_to_app(_session: Session, app_name: str, model_name: str) -> Steps[None]:
    """Let a model answer for an application. Linking it twice is no error.

    Raises:
        UnknownApplication: There is no such application.
        UnknownModel: There is no such model.
        PolicyTakesOneModel: The application's policy serves one model, and another one is linked.
        InputTypeMismatch: They take different inputs.
    """
    reply = yield Request("PUT", path("apps", app_name, "links", model_name))
    reply.json()


def unlink_model_from_app(_session: Session, app_name: str, model_name: str) -> Steps[None]:
    """Let a model no longer answer for an application.

    Raises:
        UnknownApplication: There is no such application.
        UnknownModel: The model is not linked to it.
    """
    reply = yield Request("DELETE", path("apps", app_name, "links", model_name))
    reply.json()
