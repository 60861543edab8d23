"""What an application's policy chooses among now, and where each of it is served."""

from collections.abc import Mapping

from clipper.abstraction.served import ServedVersion
from clipper.engine.route import ModelRoute
from clipper.selection import Policy

Serving = dict[str, ServedVersion | None]
"""Arm -> the version that answers for it; None: none does."""


def arms_of(policy: Policy, routes: Mapping[str, ModelRoute]) -> Serving:
    """Each model is an arm, whatever its version; or each version, where a new one shall begin anew.

    A model without any version to its traffic has no arm then.
    """
    if policy.new_version == "inherit":
        return {model: version_of(route) for model, route in routes.items()}
    versions = (version_of(route) for route in routes.values())
    return {version.name: version for version in versions if version is not None}


def canaries_of(policy: Policy, routes: Mapping[str, ModelRoute]) -> dict[str, ModelRoute]:
    """The routes of the arms whose queries a canary shares.

    It answers in the name of the arm that it may succeed, also where each version is one: it gets an arm of its own
    with the traffic.
    """
    on_trial = {model: route for model, route in routes.items() if route.canary is not None}
    if policy.new_version == "inherit":
        return on_trial
    return {route.serving.name: route for route in on_trial.values() if route.serving is not None}


def version_of(route: ModelRoute) -> ServedVersion | None:
    """The version to which a route sends the queries of policies that choose among models."""
    return route.serving
