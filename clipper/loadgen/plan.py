"""What a run of the load generator does, as values that travel to its processes."""

from typing import Literal

import msgspec

from clipper.domain import InputType
from clipper.errors import InvalidRequest

ArrivalKind = Literal["poisson", "uniform", "bursty"]
ProtocolName = Literal["rest", "oip", "grpc"]

MAX_RATE_QPS = 1_000_000.0
MAX_DURATION_S = 86_400.0
MAX_CONNECTIONS = 50_000
MAX_PROCESSES = 256
MAX_TIMEOUT_S = 600.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How queries come.

    Attributes:
        duration_s: For how long queries come; the answers to the last ones are waited for afterwards.
        rate_qps: Of all processes together, in an open loop; None in a closed loop, where ``connections`` callers
            ask one query after the other.
        connections: How many may be open at once, of all processes together.
        timeout_s: After this long, counted from the moment at which a query was due, its caller gives up.
        slo_s: What goodput is counted against.
        seed: Of arrivals and of drawn inputs.

    Raises:
        InvalidRequest: A number is out of its range.
    """

    duration_s: float
    rate_qps: float | None
    arrivals: ArrivalKind = "poisson"
    connections: int
    timeout_s: float
    slo_s: float
    seed: int
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _check("The duration", self.duration_s, MAX_DURATION_S, " s")
        _check("The rate", 1.0 if self.rate_qps is None else self.rate_qps, MAX_RATE_QPS, " a second")
        _check("The number of connections", self.connections, MAX_CONNECTIONS)
        _check("The timeout", self.timeout_s, MAX_TIMEOUT_S, " s")
        _check("The SLO", self.slo_s, MAX_TIMEOUT_S, " s")
        _check("The number of processes", self.processes, MAX_PROCESSES)
        if self.connections < self.processes:
            raise InvalidRequest(
                f"Every process needs a connection of its own: {self.processes} processes, "
                f"{self.connections} connection{'s' if self.connections > 1 else ''}."
            )

    def connections_of(self, process: int) -> int:
        """The share of one process, as even as it goes."""
        return self.connections // self.processes + (process < self.connections % self.processes)


class Target(msgspec.Struct, frozen=True):
    """Where queries go; ``stream``: over one gRPC stream for each process, not by a call each."""

    host: str
    port: int
    application: str
    protocol: ProtocolName = "rest"
    stream: bool = False

    @property
    def spoken(self) -> str:
        """The protocol, for people: ``grpc stream`` is another load than ``grpc``."""
        return f"{self.protocol} stream" if self.stream else self.protocol

    @property
    def address(self) -> str:
        """Host and port, as URLs and the header ``Host`` have them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class InputSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where inputs come from: a file, or drawn at random for the application's input type.

    ``width`` is how many numbers a drawn input has; ``distinct`` is after how many different inputs they come again,
    None for never.
    """

    input_type: InputType
    width: int = 1
    distinct: int | None = None
    file: str | None = None


class Assignment(msgspec.Struct, frozen=True):
    """What one process is told: everything, and which one it is."""

    plan: Plan
    target: Target
    inputs: InputSource
    process: int


def _check(what: str, number: float, most: float, unit: str = "") -> None:
    if not 0 < number <= most:
        raise InvalidRequest(f"{what} must be more than 0 and at most {most:g}{unit}, not {number:g}.")
