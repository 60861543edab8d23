"""What a model does wrong stays with the items it did wrong: real models, containers and HTTP."""

import concurrent.futures
import sys
import time

import cloudpickle
import httpx
import pytest

# The containers cannot import this module, so its functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def serve(cl, name, predict, *, slo_ms=2000, **deploy):
    deploy.setdefault("input_type", "doubles")
    cl.deploy_model(name, 1, predict, **deploy)
    cl.register_application(name, input_type=deploy["input_type"], slo_ms=slo_ms, models=[name])


def ask(cl, name, inputs):
    """All inputs at once, each as a request of its own."""
    url = f"{cl.session.query_url}/{name}/predict"
    with httpx.Client(timeout=30) as client, concurrent.futures.ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda x: client.post(url, json={"input": x}), inputs))
    return [(reply.status_code, reply.json()) for reply in replies]


def refuses_negatives(batch):
    if (batch < 0).any():
        raise ValueError("negative")
    return batch.sum(axis=1)


def test_a_row_that_raises_fails_alone(cl):
    serve(cl, "refuses", refuses_negatives)
    inputs = [[-1.0 if i % 10 == 0 else float(i)] for i in range(200)]
    for (x,), (status, body) in zip(inputs, ask(cl, "refuses", inputs), strict=True):
        if x < 0:
            assert (status, body["code"]) == (500, "model_error")
            assert "ValueError: negative" in body["error"]
            assert "Traceback" not in body["error"]
        else:
            assert (status, body["output"]) == (200, x)


def returns_too_few(batch):
    return [float(x[0]) for x in batch][: max(0, len(batch) - 1)]


def test_too_few_outputs_are_an_error_and_not_somebody_elses_answer(cl):
    serve(cl, "few", returns_too_few)
    for status, body in ask(cl, "few", [[float(i)] for i in range(50)]):
        assert (status, body["code"]) == (500, "model_error")
        assert "outputs" in body["error"]


def hangs_on_request(batch):
    import time  # noqa: PLC0415  # travels with the function

    for x in batch:
        if x[0] < 0:
            time.sleep(1.5)
    return batch[:, 0]


def test_a_hang_costs_its_own_deadline_and_the_container_goes_on(cl):
    serve(cl, "hangs", hangs_on_request, slo_ms=300)
    ((status, body),) = ask(cl, "hangs", [[-1.0]])
    assert (status, body["code"]) == (504, "deadline_exceeded")
    (replica,) = [r for r in cl.get_all_model_replicas() if r["model"] == "hangs"]
    deadline_s = time.monotonic() + 20
    while ask(cl, "hangs", [[1.0]])[0][0] != 200:
        assert time.monotonic() < deadline_s
    (after,) = [r for r in cl.get_all_model_replicas() if r["model"] == "hangs"]
    assert (after["pid"], after["restarts"]) == (replica["pid"], replica["restarts"])


def prints_megabytes(batch):
    import sys  # noqa: PLC0415  # travels with the function

    sys.stdout.write("x" * 4_000_000 + "\n")
    sys.stderr.write("y" * 4_000_000 + "\n")
    return batch[:, 0]


def test_printing_megabytes_changes_nothing(cl):
    serve(cl, "prints", prints_megabytes, slo_ms=5000)
    inputs = [[float(i)] for i in range(20)]
    assert [body.get("output") for _, body in ask(cl, "prints", inputs)] == [x for (x,) in inputs]


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "Inf"), (object, "")])
def test_what_json_cannot_say_is_a_model_error(cl, value, word):
    name = f"unsayable-{word.lower() or 'object'}"
    serve(cl, name, lambda batch: [value for _ in batch])
    ((status, body),) = ask(cl, name, [[1.0]])
    assert (status, body["code"]) == (500, "model_error")
    assert word.lower() in body["error"].lower()


def exits(batch):
    raise SystemExit(3)


def test_a_model_that_exits_is_an_error_of_its_items(cl):
    serve(cl, "exits", exits)
    ((status, body),) = ask(cl, "exits", [[1.0]])
    assert (status, body["code"]) == (500, "model_error")
    assert "SystemExit" in body["error"]


@pytest.mark.parametrize(
    ("input_type", "x"),
    [
        ("doubles", [0.1, -2.5]),
        ("floats", [0.5, 2.0]),
        ("integers", [1, -7]),
        ("strings", "grüße"),
        ("bytes", "AAEC/w=="),
        ("json", {"a": [1, None, {"b": "c"}]}),
    ],
)
def test_every_input_type_reaches_the_model_as_documented(cl, input_type, x):
    name = f"types-{input_type}"

    def describe(batch):
        first = batch[0]
        kind = f"{type(batch).__name__}:{getattr(batch, 'dtype', '')}:{getattr(batch, 'ndim', '')}"
        value = first.tolist() if hasattr(first, "tolist") else list(first) if isinstance(first, bytes) else first
        return [[kind, value]] * len(batch)

    serve(cl, name, describe, input_type=input_type)
    ((status, body),) = ask(cl, name, [x])
    kinds = {"doubles": "ndarray:float64:2", "floats": "ndarray:float32:2", "integers": "ndarray:int32:2"}
    expected = [0, 1, 2, 255] if input_type == "bytes" else x
    assert (status, body["output"]) == (200, [kinds.get(input_type, "list::"), expected])
