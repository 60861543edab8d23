"""What policies chose and combined, as Prometheus families."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, Metric

from clipper.metrics import ApplicationMetrics

_COUNTERS = {
    "combined": "Queries whose outputs a policy was to combine.",
    "disagreements": "Queries to several models whose outputs were not all the same.",
    "unknown_users": "Queries whose user could not be read from the store in time.",
}


def families_of_selection(applications: Mapping[str, ApplicationMetrics]) -> Iterator[Metric]:
    """Nothing of applications under ``single``: they have chosen nothing."""
    choices = CounterMetricFamily(
        "clipper_selection_choices", "Queries that a policy gave to a model.", labels=["app", "model"]
    )
    missing = CounterMetricFamily(
        "clipper_selection_missing",
        "Outputs that an ensemble had to do without, by the error code that says why.",
        labels=["app", "model", "cause"],
    )
    ejections = CounterMetricFamily(
        "clipper_selection_ejections",
        "Times that a model was left alone for a while because it failed query after query.",
        labels=["app", "model"],
    )
    fallbacks = CounterMetricFamily(
        "clipper_selection_fallbacks",
        "Queries answered without their policy, by what it failed in.",
        labels=["app", "failed_in"],
    )
    counters = {
        name: CounterMetricFamily(f"clipper_selection_{name}", text, labels=["app"]) for name, text in _COUNTERS.items()
    }
    for app, metrics in applications.items():
        selection = metrics.selection
        for model, count in selection.choices.items():
            choices.add_metric([app, model], count)
        for (model, cause), count in selection.missing.items():
            missing.add_metric([app, model, cause], count)
        for model, count in selection.ejections.items():
            ejections.add_metric([app, model], count)
        for failed_in, count in selection.fallbacks.items():
            fallbacks.add_metric([app, failed_in], count)
        if selection.choices:
            for name, family in counters.items():
                family.add_metric([app], getattr(selection, name))
    yield from (choices, missing, ejections, fallbacks, *counters.values())
