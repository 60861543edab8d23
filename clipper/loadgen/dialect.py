"""The seam between protocols and the rest: how a query is written, and how an answer is read."""

from typing import Protocol

from clipper.loadgen.inputs import JsonOf
from clipper.loadgen.outcomes import Outcome
from clipper.loadgen.plan import Target
from clipper.loadgen.rest import RestDialect


class HttpDialect(Protocol):
    """A protocol over HTTP/1.1. Both methods run for every query: they must be fast."""

    def request(self, index: int) -> bytes:
        """The whole request for query ``index``."""
        ...

    def outcome(self, status: int, body: bytes) -> Outcome:
        """What an answer says."""
        ...


def http_dialect(target: Target, inputs: JsonOf) -> HttpDialect:
    """The dialect of the target's protocol."""
    return RestDialect(target, inputs)
