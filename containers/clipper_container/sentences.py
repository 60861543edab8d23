"""Exceptions of other people's code as text."""

import traceback

MAX_CHARS = 1000


def describe(error: BaseException) -> str:
    """The exception's type and message, bounded, on one line; never a traceback, and never without a UTF-8 form."""
    try:
        message = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001  # an exception's own __str__ may be broken too, and may even exit
        message = "(its message cannot be shown)"
    text = printable(f"{type(error).__name__}: {message}" if message else type(error).__name__)
    return text if len(text) <= MAX_CHARS else f"{text[: MAX_CHARS - 3]}..."


def traceback_of(error: BaseException) -> list[str]:
    """The traceback's lines, for a log; only the description where the exception cannot be formatted."""
    try:
        return [printable(line) for line in traceback.format_exception(error)]
    except BaseException:  # noqa: BLE001  # formatting runs the exception's own code
        return [describe(error)]


def printable(text: str) -> str:
    """The text with lone surrogates, which odd file names become in Python, written out: UTF-8 has no form for them."""
    return text.encode("utf-8", "backslashreplace").decode()
