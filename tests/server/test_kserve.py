"""The inference clients of the KServe SDK as they are, against a real server."""

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import httpx
import numpy as np
import pytest

FORMS = ("json", "binary", "typed", "raw")
"""JSON and binary over REST, typed and raw contents over gRPC."""
REFUSED = {"json": "400", "binary": "400", "typed": "INVALID_ARGUMENT", "raw": "INVALID_ARGUMENT"}
NOT_FOUND = {"json": "404", "binary": "404", "typed": "NOT_FOUND", "raw": "NOT_FOUND"}


def total(rows):
    return [float(row.sum()) for row in rows]


def echo(rows):
    return list(rows)


def refuse(rows):
    raise ValueError(f"not {len(rows[0])} numbers")


def slow(rows):
    time.sleep(1.0)
    return [0 for _ in rows]


@pytest.fixture(scope="module")
def server(cl):
    """Query address, gRPC address."""
    cl.deploy_model("total", 1, total, input_type="doubles", example_input=[1.0, 2.0])
    cl.register_application("sum", input_type="doubles", slo_ms=20_000, models=["total"])
    cl.deploy_model("echo", 1, echo, input_type="strings")
    cl.deploy_model("refuse", 1, refuse, input_type="doubles")
    cl.register_application("cautious", input_type="doubles", slo_ms=20_000, models=["refuse"], default_output=-1)
    cl.deploy_model("slow", 1, slow, input_type="doubles")
    cl.register_application("patient", input_type="doubles", slo_ms=20_000, models=["slow"])
    return cl.session.query_url, httpx.get(f"{cl.session.admin_url}/admin/status").json()["grpc"]


@pytest.fixture(scope="module")
def apart():
    """Calls a function of `kserve_calls` in a process where the SDK is imported and Triton's client is not."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield lambda name, *arguments, **options: process.submit(called, name, arguments, options).result()


def called(name, arguments, options):
    import kserve_calls  # noqa: PLC0415  # never in the process of the tests

    return getattr(kserve_calls, name)(*arguments, **options)


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def test_server_and_models_are_live_and_ready_over_both(apart, server):
    for model, is_ready in [("sum", True), ("total", True), ("nobody", False)]:
        found = apart("health", *server, model)
        assert found == {"rest": [True, True, is_ready], "grpc": [True, True, is_ready]}


def test_a_batch_is_answered_row_by_row(apart, server, form):
    found = apart("infer", *server, "sum", [[1.0, 2.0], [3.0, 4.5]], form)
    assert (found["id"], found["name"], found["output"]) == ("mine", "output", [3.0, 7.5])
    assert len(json.loads(found["parameters"]["query_ids"])) == 2


def test_a_single_row_comes_with_its_query_id(apart, server, form):
    found = apart("infer", *server, "sum", [[1.0, 2.0]], form)
    assert found["parameters"]["query_id"]
    assert found["parameters"]["default"] is False


def test_an_output_is_called_as_asked(apart, server, form):
    assert apart("infer", *server, "sum", [[1.0, 2.0]], form, output="y")["name"] == "y"


def test_strings_go_in_and_come_out(apart, server, form):
    words = np.array([b"one", "zwölf".encode()], object)
    found = apart("infer", *server, "echo", words, form)["output"]
    assert [word if isinstance(word, str) else word.decode() for word in found] == ["one", "zwölf"]


@pytest.mark.parametrize("form", ["binary", "raw"])
def test_half_precision_goes_in_binary(apart, server, form):
    assert apart("infer", *server, "sum", np.array([[0.5, 1]], np.float16), form)["output"] == [1.5]


def test_what_does_not_fit_is_refused_in_a_sentence(apart, server, form):
    status, sentence = apart("failure", *server, "total", [[1.0, 2.0, 3.0]], form)
    assert status == REFUSED[form]
    assert "must have 2 numbers a query, got 3" in sentence
    status, sentence = apart("failure", *server, "nobody", [[1.0]], form)
    assert status == NOT_FOUND[form]
    assert "no model 'nobody'" in sentence


def test_a_model_that_raises_is_an_error_or_the_default(apart, server, form):
    status, sentence = apart("failure", *server, "refuse", [[1.0, 2.0]], form)
    assert status in {"500", "INTERNAL"}
    assert "not 2 numbers" in sentence
    found = apart("infer", *server, "cautious", [[1.0, 2.0]], form)
    assert (found["output"], found["parameters"]["default"]) == ([-1], True)


def test_the_timeout_of_a_client_ends_its_query(apart, server, form):
    one = [[time.time()]]  # in no cache
    status, _ = apart("failure", *server, "patient", one, form, timeout_s=0.2)
    assert status in {"ReadTimeout", "DEADLINE_EXCEEDED"}  # the fixture looks for what is left


def test_our_own_client_works_in_the_same_process(apart, server, cl):
    query, address = server
    admin = cl.session.admin_url
    assert apart("beside_our_client", query, admin, address, "sum", [1.0, 2.0]) == [3.0] * 3
