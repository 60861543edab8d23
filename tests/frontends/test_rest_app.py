"""Health, metrics, documentation; and the same answers through an ordinary HTTP client."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rest_fakes import FakeEngine, FakeFeedback, FakeRepository

from clipper.metrics import ApplicationMetrics, FeedbackMetrics, VersionMetrics
from clipper_frontends.rest.app import create_query_app
from clipper_frontends.rest.exposition import Exposition, Measured
from clipper_frontends.rest.lane import Lane
from clipper_frontends.rest.submission import HttpCounters


async def get(served, path, **options):
    async with httpx.AsyncClient(base_url=served.server.url) as client:
        return await client.request(options.pop("method", "GET"), path, **options)


@pytest.mark.parametrize("path", ["/livez", "/v2/health/live"])
async def test_alive(serve, path):
    served = await serve(engine=FakeEngine(readiness=(False, "Starting.")))
    reply = await get(served, path)
    assert (reply.status_code, reply.json()) == (200, {"live": True})
    assert (await get(served, path, method="HEAD")).status_code == 200


@pytest.mark.parametrize("path", ["/readyz", "/v2/health/ready"])
async def test_ready_says_why_not(serve, path):
    served = await serve(engine=FakeEngine(readiness=(False, "Model 'svm' has no ready replica.")))
    reply = await get(served, path)
    assert (reply.status_code, reply.json()["error"]) == (503, "Model 'svm' has no ready replica.")
    served.engine.readiness = (True, "Ready.")
    assert (await get(served, path)).json() == {"ready": True}


async def test_an_ordinary_client_predicts_on_a_kept_connection(serve, fast):
    served = await serve(engine=FakeEngine("soon"), fast=fast)
    async with httpx.AsyncClient(base_url=served.server.url) as client:
        for number in range(5):
            reply = await client.post("/digits/predict", json={"input": [number]})
            assert reply.json()["output"] == [number]
        assert (await client.get("/livez")).json() == {"live": True}
        assert served.server.connections == 1


async def test_the_documentation_describes_predictions_and_never_promises_422(serve):
    served = await serve()
    document = (await get(served, "/openapi.json")).json()
    operation = document["paths"]["/{app}/predict"]["post"]
    assert {"200", "400", "404", "413", "429", "500", "503", "504"} <= set(operation["responses"])
    assert "422" not in operation["responses"]
    bodies = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert [body["required"] for body in bodies] == [["input"], ["input_batch"]]
    assert operation["parameters"][0]["name"] == "app"


async def test_the_documentation_for_people_needs_no_other_server(serve):
    served = await serve()
    page = await get(served, "/docs")
    assert page.status_code == 200
    assert "POST /{app}/predict" in page.text
    assert "://" not in page.text
    assert "<script" not in page.text


async def test_refused_requests_are_counted_by_code_on_both_roads(serve, fast):
    served = await serve(fast=fast)
    await get(served, "/digits/predict", method="POST", content=b"{")
    await get(served, "/letters/predict", method="POST", content=b"{}")
    metrics = (await get(served, "/metrics")).text
    assert 'clipper_http_refused_total{code="invalid_json"} 1.0' in metrics
    assert 'clipper_http_refused_total{code="unknown_application"} 1.0' in metrics


async def test_metrics_speak_openmetrics_to_those_who_ask(serve):
    served = await serve()
    reply = await get(served, "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


def samples(measured: Measured) -> dict[tuple, float]:
    text, content_type = Exposition(lambda: measured).text("")
    assert content_type.startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_queries_are_exposed_by_outcome_and_cause():
    app = ApplicationMetrics()
    app.latency_s.observe(0.001, times=7)
    app.unanswered["default", "deadline_exceeded"] = 2
    app.unanswered["cancelled", ""] = 1
    found = samples(Measured(applications={"digits": app}))
    name = "clipper_queries_total"
    assert found[name, ("app", "digits"), ("cause", ""), ("outcome", "answered")] == 5
    assert found[name, ("app", "digits"), ("cause", "deadline_exceeded"), ("outcome", "default")] == 2


def test_histograms_are_cumulative_with_sum_and_count():
    app = ApplicationMetrics()
    for seconds in (0.001, 0.001, 0.5, 1000.0):
        app.latency_s.observe(seconds)
    found = samples(Measured(applications={"digits": app}))
    bucket = "clipper_query_seconds_bucket"
    assert found[bucket, ("app", "digits"), ("le", "0.001")] == 2
    assert found[bucket, ("app", "digits"), ("le", "0.5")] == 3
    assert found[bucket, ("app", "digits"), ("le", "60.0")] == 3
    assert found[bucket, ("app", "digits"), ("le", "+Inf")] == 4
    assert found["clipper_query_seconds_count", ("app", "digits")] == 4
    assert found["clipper_query_seconds_sum", ("app", "digits")] == pytest.approx(1000.502)


def test_versions_are_exposed_with_their_labels():
    version = VersionMetrics()
    version.cache_hits = 3
    version.failures["model_error"] = 1
    version.batch_size.observe(8)
    measured = Measured(
        versions={("svm", "2"): version},
        replicas={("svm", "2", "ready"): 2},
        queued={("svm", "2"): 4},
        in_flight={("svm", "2"): 1},
        cache_bytes=100,
        ready=True,
        further={"config_age_seconds": 1.5},
    )
    found = samples(measured)
    svm = (("model", "svm"), ("version", "2"))
    assert found["clipper_cache_hits_total", *svm] == 3
    assert found["clipper_failures_total", ("code", "model_error"), *svm] == 1
    assert found["clipper_batch_size_bucket", ("le", "8.0"), *svm] == 1
    assert found["clipper_replicas", ("model", "svm"), ("state", "ready"), ("version", "2")] == 2
    assert found["clipper_queue_length", *svm] == 4
    assert found["clipper_cache_bytes",] == 100
    assert found["clipper_ready",] == 1
    assert found["clipper_config_age_seconds",] == 1.5


def test_feedback_and_losses_are_exposed():
    app, version, feedback = ApplicationMetrics(), VersionMetrics(), FeedbackMetrics()
    app.feedback.update({"accepted": 5, "duplicate_feedback": 2})
    app.loss_sum, app.loss_count = 1.5, 5
    version.loss_sum, version.loss_count = 2.5, 4
    feedback.commit_s.observe(0.004)
    feedback.group_size.observe(12)
    feedback.failed_commits = 1
    found = samples(Measured(applications={"digits": app}, versions={("svm", "2"): version}, feedback=feedback))
    digits, svm = ("app", "digits"), (("model", "svm"), ("version", "2"))
    assert found["clipper_feedback_total", digits, ("outcome", "accepted")] == 5
    assert found["clipper_feedback_total", digits, ("outcome", "duplicate_feedback")] == 2
    assert found["clipper_answer_loss_sum_total", digits] == 1.5
    assert found["clipper_answer_loss_count_total", digits] == 5
    assert found["clipper_loss_sum_total", *svm] == 2.5
    assert found["clipper_loss_count_total", *svm] == 4
    assert found["clipper_feedback_commit_seconds_count",] == 1
    assert found["clipper_feedback_group_size_sum",] == 12
    assert found["clipper_feedback_failed_commits_total",] == 1


async def test_the_application_serves_predictions_without_our_server():
    lane = Lane(FakeEngine("soon"), HttpCounters(), feedback=FakeFeedback())
    app = create_query_app(lane, Exposition(Measured).scrape, FakeRepository())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        reply = await client.post("/digits/predict", json={"input": [1.5]})
        assert (reply.status_code, reply.json()["output"]) == (200, [1.5])
        reply = await client.post("/digits/predict", json={"input": [True]})
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_input")
        reply = await client.post("/digits/update", json={"query_id": "q", "label": 3})
        assert (reply.status_code, reply.json()) == (200, {"accepted": 1})


async def test_the_documentation_says_that_metrics_are_text(serve):
    served = await serve()
    document = (await get(served, "/openapi.json")).json()
    content = document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"text/plain", "application/openmetrics-text"}
