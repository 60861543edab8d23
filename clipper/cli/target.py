"""Which server the commands talk to, and arguments that several of them take."""

import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from clipper.cli.outcome import BadUsage

if TYPE_CHECKING:
    from clipper.client import Connection


admin_url: ContextVar[str | None] = ContextVar("admin_url", default=None)
"""The admin address that was given, if any."""


def connection() -> "Connection":
    """A connection to the server that ``--url``, ``CLIPPER_URL`` or the default names."""
    from clipper.client import connect  # noqa: PLC0415 (so that --help does not wait for it)
    from clipper.errors import InvalidRequest  # noqa: PLC0415 (as above)

    try:
        return connect(admin_url.get())
    except InvalidRequest as fault:
        raise BadUsage(fault.message) from None


def parse_json(text: str, what: str) -> Any:
    """A JSON value that was typed as the argument ``what``."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadUsage(f"{what} must be JSON (a string in quotes: '\"text\"'); {text!r} is not: {error}.") from None


def model_and_version(text: str) -> tuple[str, str | None]:
    """``svm:2`` or ``svm``."""
    model, colon, version = text.partition(":")
    if not model or (colon and not version):
        raise BadUsage(f"A model is named MODEL or MODEL:VERSION, not '{text}'.")
    return model, version or None
