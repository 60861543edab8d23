"""Exceptions of other people's code as one line of text."""

MAX_CHARS = 1000


def describe(error: BaseException) -> str:
    """The exception's type and message, bounded, on one line; never a traceback."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  # an exception's own __str__ may be broken too
        message = "(its message cannot be shown)"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= MAX_CHARS else f"{text[: MAX_CHARS - 3]}..."
