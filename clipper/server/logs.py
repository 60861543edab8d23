"""Where a server's log goes and how its lines look."""

import logging
import sys


def log_to_stderr(level: str, process: str = "") -> None:
    """Lines on standard error from ``level`` on; ``process`` names the one of several that writes."""
    name = f"{process} " if process else ""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format=f"%(asctime)s %(levelname)s {name}%(name)s %(message)s",
    )
