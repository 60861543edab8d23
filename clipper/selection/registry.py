"""Policies by name."""

from collections.abc import Callable, Mapping
from typing import Any

from clipper.errors import InvalidRequest
from clipper.selection.policy import Policy
from clipper.selection.single import Single

_BUILT_IN: Mapping[str, Callable[..., Policy]] = {"single": Single}


def policy_names() -> list[str]:
    """The names that an application may use."""
    return sorted(_BUILT_IN)


def policy_named(name: str, options: Mapping[str, Any]) -> Policy:
    """The policy of that name with these options.

    Raises:
        InvalidRequest: There is no such policy, or it does not take one of the options.
    """
    make = _BUILT_IN.get(name)
    if make is None:
        raise InvalidRequest(f"policy must be one of {', '.join(policy_names())}; got {name!r}.")
    if options and name == Single.name:
        raise InvalidRequest(f"policy 'single' takes no options; got {', '.join(sorted(options))}.")
    return make(**options)
