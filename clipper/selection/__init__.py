"""Which models answer a query, and how their answers become one: pure policies, found by name."""

from clipper.selection.policy import Policy, State
from clipper.selection.registry import policy_named, policy_names

__all__ = ["Policy", "State", "policy_named", "policy_names"]
