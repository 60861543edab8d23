"""How calls leave: with an output or with an error, each exactly once, whatever their owners do meanwhile."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable

from clipper.abstraction.call import Call, Trace
from clipper.abstraction.flight import Flight
from clipper.errors import ClipperError

log = logging.getLogger(__name__)


def deliver(flight: Flight, output: bytes, trace: Trace) -> None:
    """Give a flight's output to its calls. A call that is cancelled by another one's callback gets nothing."""
    flight.done = True
    flight.batch = None
    for call in flight.calls:
        if call.flight is flight:
            call.flight = None
            call.output = output
            call.trace = trace
            try:
                call.on_result(call)
            except Exception:
                log.exception("A caller's on_result raised; the other calls of the batch go on.")


def fail(
    calls: Iterable[Call],
    error_for: Callable[[Call], ClipperError],
    failures: Counter[str],
    trace: Trace | None = None,
) -> None:
    """Give each of the calls, which have left their flight already, an error of its own, and count it by its code."""
    for call in calls:
        if call.flight is not None:
            call.flight = None
            call.error = error_for(call)
            call.trace = trace
            failures[call.error.code] += 1
            try:
                call.on_result(call)
            except Exception:
                log.exception("A caller's on_result raised; the other calls go on.")
