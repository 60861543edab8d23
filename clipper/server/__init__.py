"""``clipper up``: everything of one host put together."""

import logging
import sys

import uvloop

from clipper.errors import ClipperError
from clipper.server.checks import check
from clipper.server.node import Node
from clipper.server.stopping import StopSignal
from clipper.settings import Settings

__all__ = ["run"]

EXIT_OK, EXIT_REFUSED, EXIT_USAGE = 0, 1, 2


def run(settings: Settings, *, until_eof: bool = False) -> int:
    """Serve until a signal (or, with ``until_eof``, until standard input ends). Returns the exit code.

    One line of JSON with the addresses goes to standard output when the server is ready; logs go to standard error.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    problem = check(settings)
    if problem is not None:
        sys.stderr.write(f"{problem}\n")
        return EXIT_USAGE
    try:
        uvloop.run(_serve(settings, until_eof=until_eof))
    except (ClipperError, OSError) as failure:
        sys.stderr.write(f"The server cannot start: {failure}\n")
        return EXIT_REFUSED
    return EXIT_OK


async def _serve(settings: Settings, *, until_eof: bool) -> None:
    with StopSignal(until_eof=until_eof) as stop:
        await Node(settings).serve(stop)
