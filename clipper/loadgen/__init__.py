"""A load generator: asks an application as its users would, and says what they would get.

::

    Plan, Target, InputSource      what is asked, of whom, with which inputs
    run(...)                       asks, in processes of its own
    Summary                        what came of it

Queries go by the plan's clock, not by the server's: an open loop has no coordinated omission. A protocol is a
`clipper.loadgen.dialect`.
"""

from clipper.loadgen.plan import ArrivalKind, InputSource, Plan, ProtocolName, Target
from clipper.loadgen.processes import run
from clipper.loadgen.summary import Summary

__all__ = ["ArrivalKind", "InputSource", "Plan", "ProtocolName", "Summary", "Target", "run"]
