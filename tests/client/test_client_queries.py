import json

import numpy as np
import pytest

import clipper


def test_a_prediction_has_its_output_and_id(cl, summing):
    prediction = cl.predict(summing, [1, 2.5])
    assert prediction.output == 3.5
    assert prediction.query_id
    assert prediction.default is False
    assert (prediction.models, prediction.confidence, prediction.missing) == (None, None, None)
    assert prediction.explanation is None


@pytest.mark.parametrize(
    "x", [(1, 2), np.array([1, 2]), np.array([1.0, 2.0], "f4"), [np.float64(1), np.int32(2)], range(1, 3)]
)
def test_sequences_and_arrays_are_inputs(cl, summing, x):
    assert cl.predict(summing, list(x) if isinstance(x, range) else x).output == 3


def test_an_explanation_comes_when_asked_for(cl, summing):
    explanation = cl.predict(summing, [9.0, 9.0], explain=True).explanation
    assert "summing:1" in json.dumps(explanation)


def test_a_version_can_be_forced(cl, summing):
    assert cl.predict(summing, [4.0], version=1).output == 4
    with pytest.raises(clipper.ClipperError):
        cl.predict(summing, [4.0], version=77)


def test_a_batch_keeps_its_order_and_its_failures_apart(cl, summing):
    predictions = cl.predict_batch(summing, [[1.0, 1.0], [-1.0, 1.0], [2.0, 2.0]])
    assert [p.output for p in predictions] == [2, None, 4]
    assert isinstance(predictions[1].error, clipper.ModelError)
    assert "negative" in predictions[1].error.message
    assert predictions[0].error is None


def test_a_matrix_is_a_batch(cl, summing):
    assert [p.output for p in cl.predict_batch(summing, np.ones((3, 2)))] == [2, 2, 2]
    assert [p.output for p in cl.predict_batch(summing, np.ones((1, 2)))] == [2]


def test_a_model_that_raises_is_a_model_error(cl, summing):
    with pytest.raises(clipper.ModelError, match="negative"):
        cl.predict(summing, [-1.0])


def test_the_default_answers_with_its_reason(cl, summing):
    cl.register_application("sums-default", input_type="doubles", slo_ms=5000, default_output=None, models=["summing"])
    prediction = cl.predict("sums-default", [-1.0])
    assert prediction.default is True
    assert prediction.output is None
    assert prediction.default_explanation.startswith("model_error: ")


@pytest.mark.parametrize("x", [[], "text", [1, "2"], [True], 3, None, [[1]]])
def test_a_wrong_input_is_invalid(cl, summing, x):
    with pytest.raises(clipper.BadRequest) as refusal:
        cl.predict(summing, x)
    assert refusal.value.code in {"invalid_input", "invalid_request"}


@pytest.mark.parametrize("x", [[float("nan")], np.array([np.inf]), {"a": {1, 2}}, object(), [complex(1)]])
def test_what_json_cannot_carry_is_refused_before_it_is_sent(cl, summing, x):
    with pytest.raises(clipper.InvalidInput):
        cl.predict(summing, x)


def test_unknown_applications_are_not_found(cl):
    with pytest.raises(clipper.NotFound) as failure:
        cl.predict("nobody", [1.0])
    assert isinstance(failure.value, clipper.UnknownApplication)
    assert failure.value.code == "unknown_application"


def test_strings_bytes_and_json_reach_the_model_as_such(cl):
    cl.deploy_model("typed-strings", 1, lambda batch: [s.upper() for s in batch], input_type="strings")
    cl.deploy_model("typed-bytes", 1, lambda batch: [len(b) for b in batch], input_type="bytes")
    cl.deploy_model("typed-json", 1, lambda batch: [sorted(d) for d in batch], input_type="json")
    for kind in ("strings", "bytes", "json"):
        cl.register_application(f"typed-{kind}", input_type=kind, slo_ms=5000, models=[f"typed-{kind}"])
    assert cl.predict("typed-strings", "héllo").output == "HÉLLO"
    assert cl.predict("typed-bytes", b"\x00\xff\x00").output == 3
    assert cl.predict("typed-json", {"b": np.int64(1), "a": [None]}).output == ["a", "b"]


def test_feedback_to_a_policy_that_does_not_learn_is_the_servers_refusal(cl, summing):
    query_id = cl.predict(summing, [1.0]).query_id
    with pytest.raises(clipper.ClipperError) as refusal:
        cl.update(summing, query_id=query_id, label=1)
    assert refusal.value.http_status in {400, 404, 405, 409, 410}
