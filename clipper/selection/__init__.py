"""Which models answer a query, and how their answers become one: pure policies, found by name."""

from clipper.evidence import State
from clipper.selection.policy import Observation, Policy
from clipper.selection.registry import policy_named, policy_names

__all__ = ["Observation", "Policy", "State", "policy_named", "policy_names"]
