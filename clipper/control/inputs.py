"""What applications and the versions of their models take must be the same; pure, as all edits of the desired state."""

from clipper.control.lookup import Taken, applications_of, taken_by
from clipper.domain import Application, Desired, VersionSpec
from clipper.errors import InputTypeMismatch, InvalidRequest
from clipper.tensors import check_tensors


def check_inputs_named(spec: VersionSpec, what: str) -> None:
    """Make sure that a version of tensors says which; ``what`` names it.

    Raises:
        InvalidRequest: Tensors are missing, or belong to another input type.
    """
    _check_named(spec, what.capitalize())


def with_inputs_of_models(desired: Desired, app: Application) -> Application:
    """The application; one of tensors that names none takes those that its models take.

    Raises:
        InvalidRequest: Tensors are missing and no model says which, or they belong to another input type.
    """
    if app.input_type == "tensors" and not app.inputs:
        known = (taken_by(desired, model) for model in app.models)
        inputs = next((taken[1] for taken in known if taken is not None), ())
        app = app.model_copy(update={"inputs": inputs})
    _check_named(app, f"The application '{app.name}'")
    return app


def check_application_takes(desired: Desired, app: Application) -> None:
    """Compare an application with its models.

    Raises:
        InputTypeMismatch: One of them takes something else.
    """
    for model in app.models:
        taken = taken_by(desired, model)
        if taken is not None and taken != (app.input_type, app.inputs):
            mine, theirs = _shown((app.input_type, app.inputs)), _shown(taken)
            raise InputTypeMismatch(
                f"The application '{app.name}' takes {mine}, its model '{model}' takes {theirs}. They must be the same."
            )


def check_version_takes(desired: Desired, model: str, spec: VersionSpec) -> None:
    """Compare a version with the others of its model, and with the applications that link it.

    Raises:
        InputTypeMismatch: One of them takes something else.
    """
    mine = (spec.input_type, spec.inputs)
    siblings = taken_by(desired, model)
    if siblings is not None and siblings != mine:
        raise InputTypeMismatch(
            f"The version '{spec.version}' takes {_shown(mine)}, the other versions of the model '{model}' take "
            f"{_shown(siblings)}. Deploy it under another model name."
        )
    for name in applications_of(desired, model):
        app = desired.applications[name]
        taken = (app.input_type, app.inputs)
        if taken != mine:
            raise InputTypeMismatch(
                f"The version '{spec.version}' of the model '{model}' takes {_shown(mine)}, the application '{name}' "
                f"that links it takes {_shown(taken)}. They must be the same."
            )


def _check_named(taker: VersionSpec | Application, subject: str) -> None:
    try:
        check_tensors(taker.input_type, taker.inputs)
    except ValueError as error:
        raise InvalidRequest(f"{subject}: {error}.") from None


def _shown(taken: Taken) -> str:
    input_type, inputs = taken
    return ", ".join(map(str, inputs)) if inputs else input_type
