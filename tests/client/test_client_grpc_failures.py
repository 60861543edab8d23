"""gRPC: repeats only where they do no harm, and calls that end in time."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

import clipper
from clipper.protocols import Messages

V1 = Messages("clipper.v1")
BROKE = object()
DUPLICATE = V1.UpdateReply(
    rejected=[V1.Rejected(index=0, error=V1.Error(code="duplicate_feedback", message="It was given already."))]
)
ACCEPTED = V1.UpdateReply(accepted=1)
PREDICTED = V1.Prediction(query_id="q", output=b"1")
REFUSED = "no_model_ready"
BY_BOTH = pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])


@contextmanager
def served(*replies):
    """A service that gives these replies, one after the other; BROKE is what a broken connection looks like."""
    asked = []

    def answer(data, context):
        reply = replies[len(asked)]
        asked.append(data)
        if reply is BROKE:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if reply is REFUSED:
            context.set_trailing_metadata((("clipper-code", REFUSED),))
            context.abort(grpc.StatusCode.UNAVAILABLE, "None is ready.")
        return reply.SerializeToString()

    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(answer)
    methods = dict.fromkeys(("Predict", "PredictBatch", "Update"), handler)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("clipper.v1.Clipper", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", asked
    finally:
        server.stop(None).wait()


def ask(address, name, *arguments, awaited, timeout_s=30.0, **named):
    if awaited:

        async def run():
            async with clipper.connect_async(protocol="grpc", grpc_address=address, timeout_s=timeout_s) as cl:
                return await getattr(cl, name)(*arguments, **named)

        return asyncio.run(run())
    with clipper.connect(protocol="grpc", grpc_address=address, timeout_s=timeout_s) as cl:
        return getattr(cl, name)(*arguments, **named)


@BY_BOTH
def test_a_prediction_is_repeated_once_where_the_connection_broke(awaited):
    with served(BROKE, PREDICTED) as (address, asked):
        assert ask(address, "predict", "a", [1.0], awaited=awaited).output == 1
    assert asked[0] == asked[1]
    with served(BROKE, BROKE) as (address, asked), pytest.raises(clipper.Unreachable):
        ask(address, "predict", "a", [1.0], awaited=awaited)
    assert len(asked) == 2


@BY_BOTH
def test_what_the_server_refuses_is_not_repeated(awaited):
    with served(REFUSED) as (address, asked), pytest.raises(clipper.NoModelReady, match="None is ready"):
        ask(address, "predict", "a", [1.0], awaited=awaited)
    assert len(asked) == 1


@BY_BOTH
@pytest.mark.parametrize("second", [ACCEPTED, DUPLICATE], ids=["not committed", "committed"])
@pytest.mark.parametrize("named", [{"query_id": "q"}, {"input": [1.0], "update_id": "u"}], ids=["query", "update"])
def test_feedback_that_has_a_name_is_repeated_and_counts_once(awaited, second, named):
    with served(BROKE, second) as (address, asked):
        assert ask(address, "update", "a", label=1, awaited=awaited, **named) == 1
    assert len(asked) == 2


@BY_BOTH
def test_a_duplicate_that_was_sent_once_is_one(awaited):
    with served(DUPLICATE) as (address, _), pytest.raises(clipper.DuplicateFeedback):
        ask(address, "update", "a", label=1, query_id="q", awaited=awaited)


@BY_BOTH
def test_feedback_that_could_count_twice_is_not_repeated(awaited):
    for name, arguments, named in [
        ("update", ["a"], {"label": 1, "input": [1.0]}),
        ("update_many", ["a", [{"query_id": "q", "label": 1}]], {}),
    ]:
        with served(BROKE, ACCEPTED) as (address, asked), pytest.raises(clipper.Unreachable):
            ask(address, name, *arguments, awaited=awaited, **named)
        assert len(asked) == 1


@BY_BOTH
def test_a_server_that_says_nothing_is_given_up_in_time(awaited):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(clipper.Unreachable, match=address) as late:
            ask(address, "predict", "a", [1.0], awaited=awaited, timeout_s=0.3)
    assert late.value.code == "unreachable"
