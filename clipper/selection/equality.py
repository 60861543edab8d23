"""When two JSON values are the same answer: numbers numerically (3 and 3.0), and never a number and a string."""

from collections.abc import Hashable
from typing import Any


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same. True is not 1: JSON has booleans and numbers."""
    return key_of(one) == key_of(other)


def key_of(value: Any) -> Hashable:
    """A hashable value that is equal for equal JSON values, however deeply they are nested."""
    if not isinstance(value, list | tuple | dict):
        return _scalar(value)
    tokens: list[Hashable] = []
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            names = sorted(item)
            tokens.append(("object", *names))
            pending += [item[name] for name in reversed(names)]
        elif isinstance(item, list | tuple):
            tokens.append(("list", len(item)))
            pending += reversed(item)
        else:
            tokens.append(_scalar(item))
    return tuple(tokens)


def _scalar(value: Any) -> Hashable:
    """Python takes True for 1; JSON does not."""
    return ("boolean", value) if isinstance(value, bool) else value


def is_number(value: Any) -> bool:
    """Whether it is a JSON number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_vector(value: Any) -> bool:
    """Whether it is a list of numbers, and not empty."""
    return isinstance(value, list | tuple) and bool(value) and all(map(is_number, value))


def kind_of(value: Any) -> str:
    """What JSON calls such a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list | tuple) else "object"
