"""Policies by name: those of this package, and those that installed packages bring along.

A package offers a policy through an entry point of the group ``clipper.policies``: its name is the policy's, its object
is called with the options as keyword arguments and returns a `Policy`. It is imported when it is first asked for.
"""

import logging
import math
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import ValidationError

from clipper.errors import ClipperError, InvalidRequest
from clipper.selection.ab import Ab
from clipper.selection.average import Average
from clipper.selection.epsilon_greedy import EpsilonGreedy
from clipper.selection.exp3 import Exp3
from clipper.selection.exp4 import Exp4
from clipper.selection.learning import LearningPolicy
from clipper.selection.majority import Majority
from clipper.selection.policy import Policy
from clipper.selection.single import Single
from clipper.selection.thompson import Thompson
from clipper.selection.ucb1 import Ucb1
from clipper.validation import invalid_request, validated

ENTRY_POINTS = "clipper.policies"

_LEARNING: Mapping[str, type[LearningPolicy]] = {
    kind.name: kind for kind in (Ab, Average, EpsilonGreedy, Exp3, Exp4, Majority, Thompson, Ucb1)
}
_BUILT_IN = frozenset({Single.name, *_LEARNING})
_MEMBERS = tuple(sorted(name for name in dir(Policy) if not name.startswith("_")))

log = logging.getLogger(__name__)


def policy_names() -> list[str]:
    """The names that an application may use."""
    return sorted(_BUILT_IN | {point.name for point in entry_points(group=ENTRY_POINTS)})


def policy_named(name: str, options: Mapping[str, Any]) -> Policy:
    """The policy of that name with these options.

    Raises:
        InvalidRequest: There is no such policy, or it does not take one of the options, or the package that brings it
            along is broken.
    """
    if name in _LEARNING:
        return validated(_LEARNING[name], dict(options), f"the policy '{name}'")
    if name == Single.name:
        return _single(options)
    points = [point for point in entry_points(group=ENTRY_POINTS) if point.name == name]
    if not points:
        raise InvalidRequest(f"policy must be one of {', '.join(policy_names())}; got {name!r}.")
    return _brought_along(points[0], options)


def _single(options: Mapping[str, Any]) -> Policy:
    if options:
        raise InvalidRequest(f"policy 'single' takes no options; got {', '.join(sorted(options))}.")
    return Single()


def _brought_along(point: EntryPoint, options: Mapping[str, Any]) -> Policy:
    try:
        policy = _factory(point)(**options)
        missing = [member for member in _MEMBERS if not hasattr(policy, member)]
        wrong = [] if missing else _wrong(policy, point.name)
    except ClipperError:
        raise
    except ValidationError as problem:
        raise invalid_request(problem, f"the policy '{point.name}'") from problem
    except Exception as problem:
        # Code of others, run on a change of configuration: whatever it raises is an answer, not the end of a server.
        log.exception("The policy %s of the installed package %s cannot be made.", point.name, _package(point))
        raise InvalidRequest(
            f"The policy '{point.name}' of the installed package {_package(point)} cannot be made with "
            f"{_listed(options)}: {type(problem).__name__}: {problem}."
        ) from problem
    if missing:
        raise InvalidRequest(
            f"What the installed package {_package(point)} calls the policy '{point.name}' is none: "
            f"it lacks {', '.join(missing)}."
        )
    if wrong:
        raise InvalidRequest(
            f"The policy '{point.name}' of the installed package {_package(point)} cannot be used: {'; '.join(wrong)}."
        )
    return policy


def _wrong(policy: Policy, name: str) -> list[str]:
    """What a policy says of itself and cannot be: found here, it can neither stop answers nor spoil what is learnt."""
    checks = {"name": (f"'{name}', as its entry point is called", name.__eq__), **_CHECKS}
    said = {member: getattr(policy, member) for member in checks}
    return [
        f"{member} must be {wanted}, not {said[member]!r}"
        for member, (wanted, fits) in checks.items()
        if not fits(said[member])
    ]


def _is_number(value: object, least: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value < math.inf


_CHECKS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "max_models": ("None or a number from 1", lambda value: value is None or _is_number(value, 1)),
    "half_life_feedbacks": ("None or a number from 1", lambda value: value is None or _is_number(value, 1)),
    "prior_feedbacks": ("a number from 0", lambda value: _is_number(value, 0)),
    "new_version": ("'inherit' or 'restart'", lambda value: value in ("inherit", "restart")),
    **dict.fromkeys(("is_ensemble", "learns", "sticky"), ("True or False", lambda value: isinstance(value, bool))),
}


@cache
def _factory(point: EntryPoint) -> Callable[..., Policy]:
    factory: Callable[..., Policy] = point.load()
    return factory


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _listed(options: Mapping[str, Any]) -> str:
    return f"the options {', '.join(sorted(options))}" if options else "no options"
