"""An application as this frontend serves it."""

from typing import TYPE_CHECKING, Any

import msgspec

from clipper.domain import Application, InputType
from clipper.engine.contexts import Contexts
from clipper.engine.route import ModelRoute
from clipper.engine.selection import Selection
from clipper.metrics import ApplicationMetrics
from clipper.selection import Policy, policy_named
from clipper.selection.losses import Loss
from clipper.tensors import Tensor
from clipper_container.layout import Layout

if TYPE_CHECKING:
    from clipper.engine.choosing import Choosing


class ServedApplication:
    """The definition with everything that a query needs, resolved once per change instead of once per query.

    ``choosing`` takes its queries where a policy chooses or combines; under ``single`` there is nothing to choose.
    """

    __slots__ = (
        "_routes",
        "choosing",
        "contexts",
        "default_fragment",
        "definition",
        "generation",
        "input_type",
        "layout",
        "learns",
        "loss",
        "metrics",
        "model",
        "name",
        "policy",
        "policy_name",
        "routes",
        "slo_s",
    )

    def __init__(
        self,
        definition: Application,
        generation: int,
        routes: dict[str, ModelRoute],
        metrics: ApplicationMetrics,
        selection: Selection,
    ) -> None:
        self.definition = definition
        self.name = definition.name
        self.generation = generation
        self.input_type: InputType = definition.input_type
        self.layout = Layout(definition.inputs) if definition.input_type == "tensors" else None
        self.slo_s = definition.slo_ms / 1e3
        self.default_fragment = msgspec.json.encode(definition.default_output) if definition.has_default else None
        self.policy: Policy = policy_named(definition.policy.name, definition.policy.options)
        self.policy_name = self.policy.name
        self.learns = self.policy.learns
        self.loss = Loss(definition.loss, *definition.loss_range)
        self.contexts = Contexts(
            (self.name, generation), self.policy, definition.models, selection.held, selection.timers.now
        )
        self.routes = routes
        self._routes = tuple(routes.values())
        self.model = next(iter(routes), None)
        self.metrics = metrics
        self.choosing: Choosing[Any] | None = None

    @property
    def input_width(self) -> int | None:
        """How many numbers an input has, where a serving model knows; None: any."""
        for route in self._routes:
            serving = route.serving
            if serving is not None:
                width = serving.input_width
                if width is not None:
                    return width
        return None

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The tensors of an answer, where the definition names them, or the only model's serving version does."""
        if self.definition.outputs or self.choosing is not None:
            return self.definition.outputs
        serving = self._routes[0].serving if self._routes else None
        return serving.outputs if serving is not None else ()
