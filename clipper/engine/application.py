"""An application as this frontend serves it."""

import msgspec

from clipper.domain import Application, InputType
from clipper.engine.route import ModelRoute
from clipper.metrics import ApplicationMetrics
from clipper.selection import Policy, policy_named


class ServedApplication:
    """The definition with everything that a query needs, resolved once per change instead of once per query."""

    __slots__ = (
        "_routes",
        "default_fragment",
        "definition",
        "input_type",
        "learns",
        "metrics",
        "model",
        "name",
        "policy",
        "policy_name",
        "routes",
        "slo_s",
    )

    def __init__(self, definition: Application, routes: dict[str, ModelRoute], metrics: ApplicationMetrics) -> None:
        self.definition = definition
        self.name = definition.name
        self.input_type: InputType = definition.input_type
        self.slo_s = definition.slo_ms / 1e3
        self.default_fragment = msgspec.json.encode(definition.default_output) if definition.has_default else None
        self.policy: Policy = policy_named(definition.policy.name, definition.policy.options)
        self.policy_name = self.policy.name
        self.learns = self.policy.learns
        self.routes = routes
        self._routes = tuple(routes.values())
        self.model = next(iter(routes), None)
        self.metrics = metrics

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
