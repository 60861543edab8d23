"""Counters of several frontends: how they travel and add up."""

from hypothesis import given
from hypothesis import strategies as st

from clipper.engine.load import VersionLoad
from clipper.engine.status import FrontendView
from clipper.metrics import ApplicationMetrics, FeedbackMetrics, VersionMetrics
from clipper.server.merging import merged, retained
from clipper.server.messages import decode_from_worker, encode, report
from clipper_frontends.rest.exposition import Exposition, Measured

SVM = ("svm", "1")
READY = FrontendView(ready=True, reason="Ready.", serving=frozenset({SVM}), traffic=frozenset({SVM}))

counts = st.integers(0, 1000)
seconds = st.lists(st.floats(0, 100), max_size=5)


@st.composite
def measurements(draw, apps=("digits",)):
    application, version, feedback = ApplicationMetrics(), VersionMetrics(), FeedbackMetrics()
    application.outcomes.update({("answered", ""): draw(counts), ("default", "overloaded"): draw(counts)})
    application.latency_s.observe_all(draw(seconds))
    application.feedback.update({"accepted": draw(counts), "duplicate_feedback": draw(counts)})
    application.loss_sum, application.loss_count = float(draw(counts)), draw(counts)
    application.selection.missing.update({("svm:1", "deadline_exceeded"): draw(counts)})
    application.selection.choices.update({"svm:1": 1 + draw(counts)})
    application.selection.combined = draw(counts)
    feedback.commit_s.observe_all(draw(seconds))
    feedback.failed_commits = draw(counts)
    version.cache_hits, version.retries = draw(counts), draw(counts)
    version.failures.update({"model_error": draw(counts)})
    version.queue_s.observe_all(draw(seconds))
    version.batch_size.observe(draw(st.integers(1, 5000)), draw(counts))
    return Measured(
        applications=dict.fromkeys(apps, application),
        versions={SVM: version},
        refused={"invalid_json": draw(counts)},
        feedback=feedback,
        queued={SVM: draw(counts)},
        in_flight={SVM: draw(counts)},
        cache_bytes=draw(counts),
        cache_entries=draw(counts),
        ready=draw(st.booleans()),
        revision=draw(counts),
        further={name: float(draw(counts)) for name in ("live_queries", "held_users", "configuration_age_seconds")},
    )


def samples(measured: Measured) -> dict[tuple, float]:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in Exposition(lambda: measured).collect()
        for sample in family.samples
    }


def is_counter(key: tuple) -> bool:
    return key[0].endswith(("_total", "_count", "_sum", "_bucket"))


@given(measurements(), st.lists(measurements(), max_size=3), measurements())
def test_every_counter_is_the_sum_of_all_frontends_and_of_those_that_ended(first, others, ended):
    together = samples(merged(first, others, retained(ended)))
    parts = [samples(part) for part in (first, *others, ended)]
    for key, value in together.items():
        if is_counter(key):
            assert abs(value - sum(part.get(key, 0.0) for part in parts)) <= 1e-9 * max(1.0, value)


@given(measurements(), measurements())
def test_gauges_tell_of_those_that_run(first, other):
    together = merged(first, [other], retained(other))
    assert together.queued[SVM] == first.queued[SVM] + other.queued[SVM]
    assert together.cache_bytes == first.cache_bytes + other.cache_bytes
    assert together.ready == (first.ready and other.ready)
    assert together.revision == min(first.revision, other.revision)
    assert together.further["live_queries"] == first.further["live_queries"] + other.further["live_queries"]
    assert together.further["held_users"] == first.further["held_users"] + other.further["held_users"]
    ages = [part.further["configuration_age_seconds"] for part in (first, other)]
    assert together.further["configuration_age_seconds"] == max(ages)


@given(measurements(), measurements())
def test_no_counter_goes_back_when_a_frontend_ends_and_a_new_one_begins(first, other):
    before = samples(merged(first, [other], Measured()))
    for after in (merged(first, [], retained(other)), merged(first, [Measured()], retained(Measured(), other))):
        assert {key: value for key, value in before.items() if is_counter(key)}.items() <= samples(after).items()


@given(measurements(), measurements())
def test_adding_up_leaves_the_parts_as_they_are(first, other):
    before = samples(first), samples(other)
    merged(first, [other], Measured())
    assert (samples(first), samples(other)) == before


@given(measurements(apps=("digits", "gone")), measurements())
def test_an_application_that_is_not_served_any_more_is_left_out(other, first):
    assert merged(first, [other], retained(other)).applications.keys() == {"digits"}


@given(measurements())
def test_a_report_arrives_as_it_was_sent(measured):
    load = VersionLoad(arrivals_per_s=12.0, batch_s=0.25, slo_s=0.1)
    sent = report(measured, READY, {"svm.1.g1.r0": 3.5}, {("svm", "1"): load})
    received = decode_from_worker(encode(sent))
    assert dict(received.loads) == {("svm", "1"): load}
    assert received.stalled == {"svm.1.g1.r0": 3.5}
    assert received.view == READY
    assert samples(received.measured) == samples(report(measured, READY, {}, {}).measured)
