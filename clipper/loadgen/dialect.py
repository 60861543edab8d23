"""The seam between protocols and the rest: how a query is written, and how an answer is read."""

from typing import Protocol

from clipper.loadgen.inputs import open_inputs, open_tensors
from clipper.loadgen.oip import OipDialect
from clipper.loadgen.outcomes import Outcome
from clipper.loadgen.plan import InputSource, Target
from clipper.loadgen.rest import RestDialect


class HttpDialect(Protocol):
    """A protocol over HTTP/1.1. Both methods run for every query: they must be fast."""

    def request(self, index: int) -> bytes:
        """The whole request for query ``index``."""
        ...

    def outcome(self, status: int, body: bytes) -> Outcome:
        """What an answer says."""
        ...


def http_dialect(target: Target, source: InputSource, seed: int) -> HttpDialect:
    """The dialect of the target's protocol, with the inputs of a run.

    Raises:
        InvalidInput: The inputs cannot be read or drawn.
    """
    if target.protocol == "oip":
        return OipDialect(target, open_tensors(source, seed))
    return RestDialect(target, open_inputs(source, seed))
