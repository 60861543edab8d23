"""A connection's methods look, in help() and in notebooks, like what they are called with."""

import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeVar, get_args, get_origin

F = TypeVar("F", bound=Callable[..., Any])


def describe_as(method: F, operation: Callable[..., Any]) -> F:
    """Give ``method`` the signature of ``operation`` as its callers see it: with self, and what the steps return."""
    signature = inspect.signature(operation)
    _session, *parameters = signature.parameters.values()
    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    returned = signature.return_annotation
    if get_origin(returned) is Generator:
        returned = get_args(returned)[2]
    method.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # where inspect looks first
        [self_parameter, *parameters], return_annotation=returned
    )
    return method
