"""What can become of a query, in words: ``answered``, ``default:<code>``, ``error:<code>``, ``lost:<reason>``."""

from functools import lru_cache
from typing import Literal, TypeAlias, get_args

Kind = Literal["answered", "default", "error", "lost"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Outcome: TypeAlias = str

ANSWERED = "answered"
"""By a model."""
TIMED_OUT = "lost:timeout"
CLOSED = "lost:connection_closed"
UNREADABLE = "lost:unreadable_reply"
INTERRUPTED = "lost:interrupted"
"""The run was stopped while the query was under way."""


def kind_of(outcome: Outcome) -> Kind:
    """The word before the colon."""
    return outcome.partition(":")[0]  # type: ignore[return-value]  # every outcome is made of one of them


def code_of(outcome: Outcome) -> str:
    """What comes after the colon."""
    return outcome.partition(":")[2]


@lru_cache(maxsize=1024)
def default_because(explanation: str) -> Outcome:
    """A default output, by the code that its explanation begins with."""
    return f"default:{explanation.partition(':')[0]}"
