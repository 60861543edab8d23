"""``clipper up``: everything of one host put together."""

import sys

import uvloop

from clipper.errors import ClipperError
from clipper.server.checks import check
from clipper.server.logs import log_to_stderr
from clipper.server.node import Node
from clipper.server.stopping import StopSignal
from clipper.settings import Settings

__all__ = ["run"]

EXIT_OK, EXIT_REFUSED, EXIT_USAGE = 0, 1, 2


def run(settings: Settings, *, until_eof: bool = False) -> int:
    """Serve until a signal (or, with ``until_eof``, until standard input ends). Returns the exit code.

    One line of JSON with the addresses goes to standard output when the server is ready; logs go to standard error.
    """
    log_to_stderr(settings.log_level)
    problem = check(settings)
    if problem is not None:
        sys.stderr.write(f"{problem}\n")
        return EXIT_USAGE
    try:
        uvloop.run(_serve(settings, until_eof=until_eof))
    except (ClipperError, OSError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) and not failure.filename else failure
        sys.stderr.write(f"The server cannot start: {reason}\n")
        return EXIT_REFUSED
    return EXIT_OK


async def _serve(settings: Settings, *, until_eof: bool) -> None:
    with StopSignal(until_eof=until_eof) as stop:
        await Node(settings).serve(stop)
