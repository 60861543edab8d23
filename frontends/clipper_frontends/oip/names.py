"""What a model name of the protocol stands for.

An application is a model of the protocol, and so is a model. ``name`` alone is the application of that name, else the
model's current version; ``name`` with a version is always the model's.
"""

from typing import NamedTuple

from clipper.domain import InputType
from clipper.engine.application import ServedApplication
from clipper.engine.engine import Engine, key_of_model
from clipper.errors import UnknownModel
from clipper.tensors import Tensor
from clipper_container.layout import Layout


class Target(NamedTuple):
    """Where the queries of a request go, and what they look like.

    Attributes:
        name: As the caller wrote it.
        key: What `clipper.domain.Query` calls the application.
        version: The version that was asked for; None: the application's business, or the current one.
        served_version: The version that serves a model now; None for an application.
        app: The application; of a model, one that it has to itself.
        input_width: How many numbers an input has; None: any, or its input is not numbers.
        outputs: The tensors of an answer, where somebody has declared them.
    """

    name: str
    key: str
    version: str | None
    served_version: str | None
    app: ServedApplication
    input_width: int | None
    outputs: tuple[Tensor, ...] = ()

    @property
    def input_type(self) -> InputType:
        """The type of every input."""
        return self.app.input_type

    @property
    def layout(self) -> Layout | None:
        """Of an input's tensors; None for the flat input types."""
        return self.app.layout

    @property
    def is_application(self) -> bool:
        """Whether the name is an application's."""
        return self.served_version is None


def find_target(engine: Engine, name: str, version: str | None = None) -> Target:
    """What ``name`` stands for; an empty ``version`` is none.

    Raises:
        UnknownModel: There is neither an application nor a model of that name.
        UnknownVersion: The model has no such version that runs.
    """
    if not version:
        app = engine.applications.get(name)
        if app is not None:
            return Target(name, name, None, None, app, app.input_width, app.outputs)
    app = engine.models.get(key_of_model(name))
    if app is None:
        raise UnknownModel(
            f"There is no model '{name}'." if version else f"There is no application and no model '{name}'."
        )
    if version:
        served = engine.fleet.version(name, version)
        return Target(name, key_of_model(name), version, version, app, served.input_width, served.outputs)
    route = app.routes[name]
    current = route.serving.version if route.serving is not None else ""
    return Target(name, key_of_model(name), None, current, app, app.input_width, app.outputs)
