"""What the server has counted, read from `/metrics` as Prometheus would."""

from collections import Counter
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Counters(NamedTuple):
    """Totals since the server started, over all applications, models and versions.

    ``on_time`` counts the queries whose answer left within the SLO, from complete request to answer.
    """

    cache_hits: float
    batches: float
    batched_queries: float
    retries: float
    queries: float
    on_time: float

    def since(self, earlier: "Counters") -> "Counters":
        """What came after ``earlier``."""
        return Counters(*(now - before for now, before in zip(self, earlier, strict=True)))

    @property
    def mean_batch(self) -> float:
        """Queries of an average batch."""
        return self.batched_queries / self.batches if self.batches else 0.0


def read(query_url: str, slo_ms: float) -> Counters:
    """The counters now."""
    text = httpx.get(f"{query_url}/metrics").raise_for_status().text
    within_slo = str(slo_ms / 1e3)
    on_time = 0.0
    totals: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] += sample.value
            if sample.name == "clipper_query_seconds_bucket" and sample.labels["le"] == within_slo:
                on_time += sample.value
    return Counters(
        cache_hits=totals["clipper_cache_hits_total"] + totals["clipper_cache_coalesced_total"],
        batches=totals["clipper_batch_size_count"],
        batched_queries=totals["clipper_batch_size_sum"],
        retries=totals["clipper_retries_total"],
        queries=totals["clipper_query_seconds_count"],
        on_time=on_time,
    )
