"""What the main process and its further frontends tell each other: one line of JSON a message, over standard streams.

Counters travel as they are: the reader adds them up.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from clipper.engine.load import VersionKey, VersionLoad
from clipper.engine.status import FrontendView
from clipper.metrics import ApplicationMetrics, FeedbackMetrics, Histogram, SelectionMetrics, VersionMetrics
from clipper_frontends.oip.repository import Change
from clipper_frontends.rest.exposition import Measured

MAX_LINE_BYTES = 64 << 20
"""Metrics of thousands of versions; a longer line is a fault."""


class Begin(msgspec.Struct, tag="begin"):
    """The first line to a worker. ``settings`` are those of the server, in JSON, without the administrator's token."""

    number: int
    settings: dict[str, Any]
    host: str
    port: int
    grpc_port: int


class Changed(msgspec.Struct, tag="changed"):
    """The store may have changed."""


class Drain(msgspec.Struct, tag="drain"):
    """Say that you are not ready, and serve on."""


class Stop(msgspec.Struct, tag="stop"):
    """Accept nobody any more, answer what was accepted, and end."""


class Scraped(msgspec.Struct, tag="scraped"):
    """The metrics of the whole server, as the scrape of this number asked for."""

    number: int
    text: bytes
    content_type: str


class Scrape(msgspec.Struct, tag="scrape"):
    """A worker is asked for metrics, with this ``Accept`` header."""

    number: int
    accept: str


class Ask(msgspec.Struct, tag="ask"):
    """A worker is asked to change what is served, which the main process can."""

    number: int
    change: Change


class Asked(msgspec.Struct, tag="asked"):
    """What came of the change of this number: nothing, when it is done, or an error's status and body."""

    number: int
    status: int | None = None
    body: dict[str, Any] = {}


class Report(msgspec.Struct, tag="report"):
    """How a worker is; the first one says that it takes queries.

    ``stalled``: for each replica with work of this frontend outstanding, for how many seconds its oldest batch has been
    away.
    """

    ready: bool
    reason: str
    revision: int
    serving: frozenset[VersionKey]
    traffic: frozenset[VersionKey]
    stalled: dict[str, float]
    loads: list[tuple[VersionKey, VersionLoad]]
    applications: dict[str, ApplicationMetrics]
    versions: list[tuple[VersionKey, VersionMetrics]]
    refused: dict[str, int]
    feedback: FeedbackMetrics
    queued: list[tuple[VersionKey, int]]
    in_flight: list[tuple[VersionKey, int]]
    cache_bytes: int
    cache_entries: int
    further: dict[str, float]

    @property
    def measured(self) -> Measured:
        """As the exposition has it."""
        return Measured(
            applications=self.applications,
            versions=dict(self.versions),
            refused=self.refused,
            feedback=self.feedback,
            queued=dict(self.queued),
            in_flight=dict(self.in_flight),
            cache_bytes=self.cache_bytes,
            cache_entries=self.cache_entries,
            ready=self.ready,
            revision=self.revision,
            further=self.further,
        )

    @property
    def view(self) -> FrontendView:
        """As the status has it."""
        return FrontendView(self.ready, self.reason, self.serving, self.traffic)


def report(
    measured: Measured, view: FrontendView, stalled: dict[str, float], loads: Mapping[VersionKey, VersionLoad]
) -> Report:
    """What a worker says of itself."""
    return Report(
        ready=view.ready,
        reason=view.reason,
        revision=measured.revision,
        serving=view.serving,
        traffic=view.traffic,
        stalled=stalled,
        loads=list(loads.items()),
        applications=dict(measured.applications),
        versions=list(measured.versions.items()),
        refused=dict(measured.refused),
        feedback=measured.feedback,
        queued=list(measured.queued.items()),
        in_flight=list(measured.in_flight.items()),
        cache_bytes=measured.cache_bytes,
        cache_entries=measured.cache_entries,
        further=dict(measured.further),
    )


ToWorker = Begin | Changed | Drain | Stop | Scraped | Asked
FromWorker = Report | Scrape | Ask


def encode(message: ToWorker | FromWorker) -> bytes:
    """The message with its line's end."""
    return _ENCODER.encode(message) + b"\n"


def decode_to_worker(line: bytes) -> ToWorker:
    """The message of a line.

    Raises:
        msgspec.DecodeError: It is none, or not whole.
    """
    return _TO_WORKER.decode(line)


def decode_from_worker(line: bytes) -> FromWorker:
    """The message of a line.

    Raises:
        msgspec.DecodeError: It is none, or not whole.
    """
    return _FROM_WORKER.decode(line)


Metrics = ApplicationMetrics | FeedbackMetrics | SelectionMetrics | VersionMetrics


def _plain(value: Any) -> Any:
    match value:
        case Histogram():
            return {"bounds": value.bounds, "counts": value.counts, "total": value.total}
        case ApplicationMetrics() | FeedbackMetrics() | SelectionMetrics() | VersionMetrics():
            return {name: _field(getattr(value, name)) for name in value.__slots__}
    raise NotImplementedError(f"{type(value).__name__} does not travel")


def _field(value: Any) -> Any:
    """Keys of a counter may be tuples, which JSON has no names for."""
    return list(value.items()) if isinstance(value, Counter) else value


def _from_plain(kind: type[Metrics], plain: dict[str, Any]) -> Metrics:
    metrics = kind()
    for name, value in plain.items():
        setattr(metrics, name, _field_from_plain(getattr(metrics, name), value))
    return metrics


def _field_from_plain(empty: Any, plain: Any) -> Any:
    """``empty`` is the field of new metrics: it tells what ``plain`` was."""
    match empty:
        case Histogram():
            histogram = Histogram(plain["bounds"])
            histogram.counts, histogram.total = plain["counts"], plain["total"]
            return histogram
        case Counter():
            return Counter({tuple(key) if isinstance(key, list) else key: count for key, count in plain})
        case SelectionMetrics():
            return _from_plain(SelectionMetrics, plain)
    return plain


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
_TO_WORKER: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)
_FROM_WORKER: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker, dec_hook=_from_plain)
