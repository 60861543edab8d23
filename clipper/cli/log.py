"""The feedback log, read page by page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from clipper.feedback import FeedbackRecord

if TYPE_CHECKING:
    from clipper.client import Connection


def read_log(
    cl: "Connection", app: str, since: float | None = None, until: float | None = None
) -> Iterator[FeedbackRecord]:
    """The records of an application that were accepted in that time, oldest first; one page is held at a time."""
    for record in cl.read_feedback(app, since=since, until=until):
        yield msgspec.convert(record, FeedbackRecord)


@contextmanager
def counting(records: Iterator[FeedbackRecord]) -> Iterator[Iterator[FeedbackRecord]]:
    """The records, and on a terminal a count of those that came by so far."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield records
        return
    with console.status("Reading the feedback log ...") as spinner:

        def watched() -> Iterator[FeedbackRecord]:
            for number, record in enumerate(records, 1):
                if number % 1000 == 0:
                    spinner.update(f"Reading the feedback log: {number:,} records ...")
                yield record

        yield watched()
