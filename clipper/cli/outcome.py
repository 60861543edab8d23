"""Exit codes and the sentence on standard error: what a script and a person see of a failure."""

import sys
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from clipper.errors import ClipperError, InvalidModel, Unreachable


class ExitCode(IntEnum):
    """What the command ends with."""

    DONE = 0
    REFUSED = 1
    BAD_USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class BadUsage(Exception):
    """What was typed cannot be right, whatever the server says; the message is the sentence to show."""


class Commands(TyperGroup):
    """A group of commands, any of which may raise a `ClipperError`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a failure is its sentence on standard error and its exit code."""
        try:
            return super().invoke(ctx)
        except BadUsage as fault:
            code, sentence = ExitCode.BAD_USAGE, str(fault)
        except InvalidModel as fault:
            code, sentence = ExitCode.BAD_USAGE, fault.message
        except Unreachable as failure:
            code, sentence = ExitCode.UNREACHABLE, failure.message
        except ClipperError as refusal:
            code, sentence = ExitCode.REFUSED, refusal.message
        except KeyboardInterrupt:
            code, sentence = ExitCode.INTERRUPTED, "Interrupted."
        sys.stderr.write(f"{sentence}\n")
        raise typer.Exit(code)
