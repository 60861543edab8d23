"""Which models answer a query, and how their answers become one: pure policies, found by name."""

from clipper.evidence import State
from clipper.selection.learning import LearningPolicy, state_of_user
from clipper.selection.losses import Loss
from clipper.selection.policy import Observation, Policy
from clipper.selection.registry import policy_named, policy_names

__all__ = ["LearningPolicy", "Loss", "Observation", "Policy", "State", "policy_named", "policy_names", "state_of_user"]
