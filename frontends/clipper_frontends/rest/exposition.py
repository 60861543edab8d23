"""The counters of the hot path as Prometheus families, made when somebody scrapes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from clipper.metrics import ApplicationMetrics, FeedbackMetrics, Histogram, VersionMetrics
from clipper_frontends.rest.exposition_of_selection import families_of_selection

VersionKey = tuple[str, str]
"""(model, version)."""

_VERSION_COUNTERS = {
    "cache_hits": "Queries answered from the prediction cache.",
    "cache_misses": "Queries that the prediction cache could not answer.",
    "cache_coalesced": "Queries that joined an identical one under way.",
    "cache_evicted": "Predictions dropped from the cache to keep it within its bound.",
    "retries": "Batches sent to another replica after one failed.",
    "ejections": "Replicas taken out after consecutive failures.",
    "refused": "Queries refused on arrival because they would have been late.",
    "loss_sum": "Losses of the version's outputs, as far as feedback told them.",
    "loss_count": "Outputs of the version whose loss feedback told.",
}
_VERSION_HISTOGRAMS = {
    "batch_size": ("batch_size", "Queries of one batch."),
    "queue_s": ("queue_seconds", "From the arrival of a query to the dispatch of its batch."),
    "model_s": ("model_seconds", "A batch in the model."),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What there is to expose at one moment.

    ``replicas`` counts (model, version, state); ``queued`` and ``in_flight`` are queries by version.
    """

    applications: Mapping[str, ApplicationMetrics] = field(default_factory=dict)
    versions: Mapping[VersionKey, VersionMetrics] = field(default_factory=dict)
    replicas: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    queued: Mapping[VersionKey, int] = field(default_factory=dict)
    in_flight: Mapping[VersionKey, int] = field(default_factory=dict)
    cache_bytes: int = 0
    cache_entries: int = 0
    ready: bool = False
    revision: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    """Requests that never became a query or feedback, by error code."""
    feedback: FeedbackMetrics = field(default_factory=FeedbackMetrics)
    further: Mapping[str, float] = field(default_factory=dict)
    """Further gauges by name, such as the age of the configuration; without the prefix ``clipper_``."""


class Exposition(Collector):
    """Encodes what ``measure`` returns; own registry, so that several servers may live in one process."""

    def __init__(self, measure: Callable[[], Measured]) -> None:
        self._measure = measure
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, in the format that the ``Accept`` header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """`text`, for a query port whose own process does the measuring."""
        return self.text(accept)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families of one moment."""
        measured = self._measure()
        yield from _of_applications(measured.applications)
        yield from families_of_selection(measured.applications)
        yield from _of_versions(measured.versions)
        yield from _of_feedback(measured)
        yield from _gauges(measured)
        refused = CounterMetricFamily(
            "clipper_http_refused", "Requests that never became a query or feedback, by error code.", labels=["code"]
        )
        for code, count in measured.refused.items():
            refused.add_metric([code], count)
        yield refused


def _of_applications(applications: Mapping[str, ApplicationMetrics]) -> Iterator[Metric]:
    outcomes = CounterMetricFamily(
        "clipper_queries",
        "Queries by outcome (answered, default, error, cancelled) and the error code that caused it.",
        labels=["app", "outcome", "cause"],
    )
    latency = HistogramMetricFamily(
        "clipper_query_seconds", "From a complete request to its answer.", labels=["app"], unit="seconds"
    )
    for app, metrics in applications.items():
        for (outcome, cause), count in metrics.outcomes.items():
            outcomes.add_metric([app, outcome, cause], count)
        _add_histogram(latency, [app], metrics.latency_s)
    yield outcomes
    yield latency


def _of_versions(versions: Mapping[VersionKey, VersionMetrics]) -> Iterator[Metric]:
    for name, help_text in _VERSION_COUNTERS.items():
        counter = CounterMetricFamily(f"clipper_{name}", help_text, labels=["model", "version"])
        for key, metrics in versions.items():
            counter.add_metric(list(key), getattr(metrics, name))
        yield counter
    failures = CounterMetricFamily(
        "clipper_failures",
        "Queries that a version failed to answer, by error code.",
        labels=["model", "version", "code"],
    )
    for key, metrics in versions.items():
        for code, count in metrics.failures.items():
            failures.add_metric([*key, code], count)
    yield failures
    for attribute, (name, help_text) in _VERSION_HISTOGRAMS.items():
        family = HistogramMetricFamily(f"clipper_{name}", help_text, labels=["model", "version"])
        for key, metrics in versions.items():
            _add_histogram(family, list(key), getattr(metrics, attribute))
        yield family


def _of_feedback(measured: Measured) -> Iterator[Metric]:
    outcomes = CounterMetricFamily(
        "clipper_feedback",
        "Feedback by what came of it: 'accepted', or the code of the error that refused it.",
        labels=["app", "outcome"],
    )
    loss_sum = CounterMetricFamily("clipper_answer_loss_sum", "Losses of answers that feedback told.", labels=["app"])
    loss_count = CounterMetricFamily(
        "clipper_answer_loss_count", "Answers, defaults included, whose loss feedback told.", labels=["app"]
    )
    for app, metrics in measured.applications.items():
        for outcome, count in metrics.feedback.items():
            outcomes.add_metric([app, outcome], count)
        loss_sum.add_metric([app], metrics.loss_sum)
        loss_count.add_metric([app], metrics.loss_count)
    commit = HistogramMetricFamily(
        "clipper_feedback_commit_seconds", "A durable commit of a group of feedback.", unit="seconds"
    )
    _add_histogram(commit, [], measured.feedback.commit_s)
    group = HistogramMetricFamily("clipper_feedback_group_size", "Pieces of feedback committed together.")
    _add_histogram(group, [], measured.feedback.group_size)
    failed = CounterMetricFamily("clipper_feedback_failed_commits", "Groups of feedback that the store did not take.")
    failed.add_metric([], measured.feedback.failed_commits)
    yield from (outcomes, loss_sum, loss_count, commit, group, failed)


def _gauges(measured: Measured) -> Iterator[Metric]:
    replicas = GaugeMetricFamily("clipper_replicas", "Replicas by state.", labels=["model", "version", "state"])
    for labels, count in measured.replicas.items():
        replicas.add_metric(list(labels), count)
    yield replicas
    for name, help_text, by_version in (
        ("clipper_queue_length", "Queries that wait for a replica.", measured.queued),
        ("clipper_in_flight", "Queries at a replica.", measured.in_flight),
    ):
        family = GaugeMetricFamily(name, help_text, labels=["model", "version"])
        for key, count in by_version.items():
            family.add_metric(list(key), count)
        yield family
    yield GaugeMetricFamily("clipper_cache_bytes", "Size of the prediction cache.", measured.cache_bytes)
    yield GaugeMetricFamily("clipper_cache_entries", "Predictions in the cache.", measured.cache_entries)
    yield GaugeMetricFamily("clipper_ready", "1 while the server is ready to serve.", measured.ready)
    yield GaugeMetricFamily("clipper_config_revision", "Revision of the configuration in use.", measured.revision)
    for name, value in measured.further.items():
        yield GaugeMetricFamily(f"clipper_{name}", f"{name.replace('_', ' ').capitalize()}.", value)


def _add_histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    cumulative = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        cumulative += count
        buckets.append((bound, cumulative))
    family.add_metric(labels, buckets, histogram.total)
