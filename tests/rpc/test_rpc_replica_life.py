"""The life of a replica: loading, warming, serving whatever the model does, draining, ending."""

import asyncio
import json
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
from rpc_harness import Client, Gate, ReplicaProcess, doubles
from sklearn.svm import SVC, LinearSVC

from clipper.rpc.link import ItemError

Start = Callable[..., ReplicaProcess]
Ready = Callable[..., Any]
Connect = Callable[..., Client]
Artifact = Callable[..., Path]

COUNT = "def predict(inputs):\n    return [len(inputs)] * len(inputs)\n"


async def test_loading_is_seen_while_it_lasts(start: Start, connect: Connect, artifact: Artifact, gate: Gate) -> None:
    client = connect(start(artifact(f"{gate.code}\n{COUNT}")))
    await client.seen.until("loading")
    assert not client.link.ready
    await gate.open()
    await client.seen.until("ready")
    assert await client.ask(doubles(1), doubles(2)) == [b"2", b"2"]


async def test_sigterm_while_loading_ends_it_at_once(
    start: Start, connect: Connect, artifact: Artifact, gate: Gate
) -> None:
    replica = start(artifact(f"{gate.code}\n{COUNT}"))
    client = connect(replica)
    await client.seen.until("loading")
    replica.kill(signal.SIGTERM)
    assert await replica.exit_code() == 0


async def test_a_model_that_cannot_be_loaded_is_told_with_its_versions(
    start: Start, connect: Connect, artifact: Artifact
) -> None:
    source = "raise RuntimeError('weights are\\nmissing')"
    replica = start(artifact(source, python="2.7.18", packages={"numpy": "0.1", "nowhere": "3"}))
    client = connect(replica)
    _, sentence = await client.seen.until("failed")
    assert sentence.startswith("The model was saved with Python 2.7.18, ")
    assert "could not be loaded (RuntimeError: weights are missing): deploy it with requirements=[" in sentence
    assert f"numpy 0.1, here {np.__version__}" in sentence
    assert "nowhere 3, here none" in sentence
    assert "Traceback" not in sentence
    assert await replica.exit_code() == 4
    assert replica.log()[-1]["event"] == "failed"
    assert replica.log()[-1]["message"] == sentence


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ({"entry": "model.py:nothing"}, "has no function 'nothing'"),
        ({"entry": "model.py:number"}, "a function was expected"),
        ({"entry": "../outside.pkl"}, "lies outside of the artifact"),
        ({"entry": None}, "names no 'entry'"),
        ({"entry": "gone.pkl"}, "No such file"),
        ({"flavor": "cobol"}, "There is no flavor 'cobol'; this runtime has mlflow, noop, oip, onnx, python"),
        ({"format": 9}, "The artifact has format 9, this runtime reads format 1"),
        ({"format": "one"}, "is not a manifest"),
        ({"input_type": "doubels"}, "has the input type 'doubels'; this runtime takes bytes, doubles, floats"),
    ],
)
async def test_a_wrong_artifact_is_told_with_a_sentence(
    start: Start, connect: Connect, artifact: Artifact, manifest: dict[str, Any], sentence: str
) -> None:
    replica = start(artifact(f"number = 1\n{COUNT}", **manifest))
    client = connect(replica)
    assert sentence in (await client.seen.until("failed"))[1]
    assert await replica.exit_code() == 4


async def test_exiting_while_loading_is_a_failure_with_a_sentence(
    start: Start, connect: Connect, artifact: Artifact
) -> None:
    client = connect(start(artifact("import sys; sys.exit(0)")))
    assert "SystemExit: 0" in (await client.seen.until("failed"))[1]


async def test_warm_up_reports_growing_batches(start: Start, ready: Ready, artifact: Artifact) -> None:
    client = await ready(start(artifact(COUNT, example_input=[1, 2, 3], input_width=3)))
    sizes = [size for size, _ in client.link.hello.warmup]
    assert sizes == [2**i for i in range(len(sizes))]
    assert len(sizes) > 3
    assert all(seconds > 0 for _, seconds in client.link.hello.warmup)
    assert client.link.hello.input_width == 3


@pytest.mark.parametrize(
    ("source", "example", "sentence"),
    [
        (
            "def predict(inputs):\n    raise ValueError('no')",
            [1.0],
            "failed on its example_input in a batch of 1: ValueError: no",
        ),
        ("def predict(inputs):\n    return [float('nan')]", [1.0], "NaN or Infinity"),
        ("def predict(inputs):\n    return [1]", [1.0], "returned 1 outputs for 2 rows"),
        (COUNT, "text", "is not an input of type doubles"),
        (COUNT, [[1.0]], "a flat list of numbers was expected"),
    ],
)
async def test_a_model_that_fails_on_its_example_never_becomes_ready(
    start: Start, connect: Connect, artifact: Artifact, source: str, example: Any, sentence: str
) -> None:
    replica = start(artifact(source, example_input=example))
    client = connect(replica)
    assert sentence in (await client.seen.until("failed"))[1]
    assert await replica.exit_code() == 4
    assert client.seen.of("ready") == []


@pytest.mark.parametrize(
    ("input_type", "example"), [("strings", "abc"), ("bytes", "AAE="), ("json", {"a": 1}), ("integers", [1])]
)
async def test_warm_up_takes_examples_of_every_type(
    start: Start, ready: Ready, artifact: Artifact, input_type: str, example: Any
) -> None:
    client = await ready(start(artifact(COUNT, input_type=input_type, example_input=example)))
    assert client.link.hello.warmup


MISBEHAVING = """
import sys
def predict(inputs):
    for what in inputs[:, 0]:
        if what == 1: raise ValueError("bad row")
        if what == 2: sys.exit(3)
        if what == 3: raise KeyboardInterrupt
        if what == 4: print("x" * 10_000_000)
    return [0] * len(inputs)
"""


async def test_a_model_that_raises_exits_or_prints_megabytes_harms_only_its_row(
    start: Start, ready: Ready, artifact: Artifact
) -> None:
    client = await ready(start(artifact(MISBEHAVING)))
    outputs = await client.ask(*(doubles(i) for i in range(6)))
    assert [outputs[i] for i in (0, 4, 5)] == [b"0"] * 3
    assert [outputs[i] for i in (1, 2, 3)] == [
        ItemError("model_error", "ValueError: bad row"),
        ItemError("model_error", "SystemExit: 3"),
        ItemError("model_error", "KeyboardInterrupt"),
    ]
    assert await client.ask(doubles(0)) == [b"0"]


async def test_too_few_outputs_and_nan_are_errors_of_their_rows(start: Start, ready: Ready, artifact: Artifact) -> None:
    source = "def predict(inputs):\n    return [float('nan')] if len(inputs) < 3 else [1.0]"
    client = await ready(start(artifact(source)))
    (nan,) = await client.ask(doubles(1))
    assert "NaN" in nan.message
    too_few = await client.ask(doubles(1), doubles(2), doubles(3))
    assert (
        too_few == [ItemError("model_error", "predict returned 1 outputs for 3 rows; it has to return one per row")] * 3
    )


async def test_failures_are_logged_with_the_models_traceback_but_seldom(
    start: Start, ready: Ready, artifact: Artifact
) -> None:
    replica = start(artifact(MISBEHAVING))
    client = await ready(replica)
    for _ in range(5):
        await client.ask(doubles(1))
    (event,) = [event for event in replica.log() if event["event"] == "predict_raised"]
    assert event["message"] == "ValueError: bad row"
    assert (event["level"], event["replica"], event["model"]) == ("error", "r1", "model")
    assert any("model.py" in line for line in event["traceback"])


async def test_a_replica_that_is_busy_for_long_says_that_it_lives(
    start: Start, ready: Ready, artifact: Artifact, gate: Gate
) -> None:
    client = await ready(start(artifact(f"def predict(inputs):\n    {gate.code}\n    return [0]")))
    batch_id = client.send([doubles(1)])
    release = await gate.reached()
    heard_s = client.link.last_heard_s
    deadline = time.monotonic() + 10
    while client.link.last_heard_s == heard_s:  # a BUSY raises no event
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert client.link.outstanding == 1
    release()
    assert (await client.reply(batch_id)).run_s > 0.9


async def test_one_frontend_that_does_not_read_harms_no_other(start: Start, ready: Ready, artifact: Artifact) -> None:
    source = "def predict(inputs):\n    return ['x' * 4_000_000] * len(inputs)"
    replica = start(artifact(source), "--log-level", "debug")
    deaf, other = await ready(replica), await ready(replica)
    deaf.link._connection._transport.pause_reading()
    for _ in range(16):
        deaf.send([doubles(1)])
    for _ in range(16):
        assert len((await other.ask(doubles(1)))[0]) == 4_000_002
    assert any(event["event"] == "peer_gone" and "does not read" in event["message"] for event in replica.log())
    deaf.link._connection._transport.resume_reading()
    await deaf.seen.until("lost")


@pytest.mark.parametrize("way", ["SIGTERM", "STOP"])
async def test_stopping_answers_what_has_arrived_and_ends(
    start: Start, ready: Ready, artifact: Artifact, gate: Gate, way: str
) -> None:
    source = f"def predict(inputs):\n    if inputs[0, 0] == 1: {gate.code}\n    return [0]"
    replica = start(artifact(source))
    client, other = await ready(replica), await ready(replica)
    running = client.send([doubles(1)])
    release = await gate.reached()
    arrived = client.send([doubles(2)])
    if way == "STOP":
        other.link.stop()
    else:
        replica.kill(signal.SIGTERM)
    client.seen.on_draining = lambda link: client.seen._add("draining", link.ready)
    release()
    assert (await client.reply(running)).outputs == [b"0"]
    assert (await client.reply(arrived)).outputs == [b"0"]
    assert (await client.seen.until("draining"))[1] is False
    assert await replica.exit_code() == 0
    await client.seen.until("lost")
    assert not replica.socket_exists()
    assert [event["event"] for event in replica.log()][-2:] == ["draining", "stopped"]


async def test_ctrl_c_of_the_terminal_does_not_end_a_replica(start: Start, ready: Ready) -> None:
    replica = start()
    client = await ready(replica)
    replica.kill(signal.SIGINT)
    assert await client.ask(doubles(1)) == [b"0"]


async def test_memory_beyond_the_limit_is_the_rows_error(start: Start, ready: Ready, artifact: Artifact) -> None:
    source = "def predict(inputs):\n    return [len(bytearray(int(row[0]) << 20)) for row in inputs]"
    client = await ready(start(artifact(source), "--memory-mb", "512"))
    small, large = await client.ask(doubles(1), doubles(2000))
    assert small == b"1048576"
    assert large.message == "MemoryError"


async def test_the_models_threads_are_limited_before_numpy_is_imported(
    start: Start, ready: Ready, artifact: Artifact
) -> None:
    source = "import os\ndef predict(inputs):\n    return [os.environ['OMP_NUM_THREADS']]"
    client = await ready(start(artifact(source), "--threads", "3"))
    assert await client.ask(doubles(1)) == [b'"3"']


def test_tcp_that_others_can_reach_needs_a_secret() -> None:
    command = [sys.executable, "-m", "clipper_container", "--flavor", "noop", "--listen", "tcp:0.0.0.0:0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert ended.returncode == 2
    assert "give both ends a secret with --secret-file" in ended.stderr


async def test_an_address_in_use_is_told(start: Start, ready: Ready) -> None:
    first = start()
    await ready(first)
    second = start(address=first.address)
    assert await second.exit_code() == 3
    assert any(event["event"] == "cannot_listen" for event in second.log())


X = np.arange(40.0).reshape(10, 4)
Y = [0, 1] * 5


def sklearn_artifact(folder: Path, estimator: Any, entry: str, **manifest: Any) -> Path:
    folder.mkdir()
    if entry.endswith(".joblib"):
        joblib.dump(estimator, folder / entry)
    else:
        (folder / entry).write_bytes(pickle.dumps(estimator))
    fields = {"format": 1, "flavor": "sklearn", "input_type": "doubles", "entry": entry, **manifest}
    (folder / "manifest.json").write_text(json.dumps(fields))
    return folder


@pytest.mark.parametrize("entry", ["model.pkl", "model.joblib"])
async def test_a_fitted_estimator_answers_as_it_does_in_the_notebook(
    start: Start, ready: Ready, tmp_path: Path, entry: str
) -> None:
    estimator = LinearSVC().fit(X, Y)
    client = await ready(start(sklearn_artifact(tmp_path / "a", estimator, entry)))
    assert client.link.hello.input_width == 4
    outputs = await client.ask(*(row.tobytes() for row in X))
    assert [json.loads(output) for output in outputs] == estimator.predict(X).tolist()


async def test_predict_proba_is_a_list_of_numbers_per_row(start: Start, ready: Ready, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    estimator = LogisticRegression().fit(X, Y)
    client = await ready(start(sklearn_artifact(tmp_path / "a", estimator, "model.pkl"), "--method", "predict_proba"))
    outputs = await client.ask(*(row.tobytes() for row in X))
    assert [json.loads(output) for output in outputs] == estimator.predict_proba(X).tolist()


async def test_an_estimator_without_the_method_is_told(start: Start, connect: Connect, tmp_path: Path) -> None:
    client = connect(start(sklearn_artifact(tmp_path / "a", SVC().fit(X, Y), "model.pkl", method="predict_proba")))
    assert "SVC has no method predict_proba" in (await client.seen.until("failed"))[1]


async def test_a_pickled_function_is_served(start: Start, ready: Ready, artifact: Artifact) -> None:
    offset = 5
    folder = artifact("", entry="function.pkl")
    (folder / "function.pkl").write_bytes(cloudpickle.dumps(lambda inputs: inputs.sum(axis=1) + offset))
    assert await (await ready(start(folder))).ask(doubles(1, 2)) == [b"8.0"]
