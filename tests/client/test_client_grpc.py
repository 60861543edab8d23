"""Predictions by gRPC: the same answers and errors as by REST, in a process that has tritonclient loaded."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest
import tritonclient.grpc  # noqa: F401  # its messages have the names of ours

import clipper


@pytest.fixture
def fast(cl, summing):
    with clipper.connect(cl.session.admin_url, protocol="grpc") as connection:
        yield connection


@pytest.mark.parametrize(
    "x",
    [
        [1.0, 2.5],
        (1, 2.5),
        np.array([1.0, 2.5]),
        np.array([1.0, 2.5], ">f8"),
        np.array([1.0, 2.5], "f4"),
        np.array([1.0, 9.0, 2.5])[::2],
    ],
)
def test_an_input_means_the_same_by_rest_and_by_grpc(cl, fast, summing, x):
    by_rest, by_grpc = cl.predict(summing, x), fast.predict(summing, x)
    assert by_grpc.output == by_rest.output == 3.5
    assert by_grpc.query_id
    assert {name: getattr(by_grpc, name) for name in by_grpc.__dataclass_fields__ if name != "query_id"} == {
        name: getattr(by_rest, name) for name in by_rest.__dataclass_fields__ if name != "query_id"
    }


@pytest.mark.parametrize("x", [np.array([3, 4]), np.array([3, 4], "u1"), np.array([2**62, 2**62]), [3, 4]])
def test_whole_numbers_pass_unchanged(cl, fast, summing, x):
    assert fast.predict(summing, x).output == cl.predict(summing, x).output


@pytest.mark.parametrize("x", ["text", b"bytes", [], [True], np.array([[1.0]]), np.array([np.nan]), {"a": 1}])
def test_an_input_that_is_refused_by_rest_is_refused_by_grpc(cl, fast, summing, x):
    with pytest.raises(clipper.InvalidInput):
        cl.predict(summing, x)
    with pytest.raises(clipper.InvalidInput):
        fast.predict(summing, x)


def test_errors_are_those_of_rest(fast, summing):
    with pytest.raises(clipper.UnknownApplication, match="There is no application 'nobody'"):
        fast.predict("nobody", [1.0])
    with pytest.raises(clipper.ModelError, match="negative"):
        fast.predict(summing, [-1.0])
    with pytest.raises(clipper.UnknownVersion):
        fast.predict(summing, [1.0], version=9)
    with pytest.raises(clipper.BadRequest, match="timeout_ms"):
        fast.predict(summing, [1.0], timeout_ms=0)


def test_options_are_those_of_rest(fast, summing):
    assert fast.predict(summing, [5.0], uid="u", timeout_ms=4000, version=1, explain=True).explanation


def test_an_ensemble_says_who_answered_and_how_sure_it_is(cl, fast, summing):
    cl.register_application("mean", input_type="doubles", slo_ms=5000, models=["summing"], policy="average")
    by_rest, by_grpc = cl.predict("mean", [1.0, 1.0]), fast.predict("mean", [1.0, 1.0])
    assert (by_grpc.models, by_grpc.confidence, by_grpc.missing) == (
        by_rest.models, by_rest.confidence, by_rest.missing,
    )  # fmt: skip
    assert by_grpc.models == ("summing:1",)


def test_a_batch_is_answered_in_order_and_fails_one_by_one(fast, summing):
    good = fast.predict_batch(summing, np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert [one.output for one in good] == [3.0, 7.0]
    bad, fine = fast.predict_batch(summing, [[-1.0], [2.0]])
    assert isinstance(bad.error, clipper.ModelError)
    assert fine.output == 2.0


@pytest.mark.parametrize("as_iterator", [False, True])
def test_a_stream_answers_every_input(cl, summing, as_iterator):
    xs = [[float(i), 1.0] for i in range(200)]
    answers = dict(cl.predict_stream(summing, iter(xs) if as_iterator else xs))
    assert {i: one.output for i, one in answers.items()} == {i: i + 1.0 for i in range(200)}


def test_a_stream_carries_the_error_of_one_and_ends_well_when_it_is_left(cl, summing):
    ((_, bad),) = cl.predict_stream(summing, [[-1.0]])
    assert isinstance(bad.error, clipper.ModelError)
    for _ in cl.predict_stream(summing, ([float(i)] for i in range(10**9))):
        break
    assert cl.predict(summing, [1.0]).output == 1.0


def test_what_the_inputs_raise_reaches_the_caller(cl, summing):
    def inputs():
        yield [1.0]
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        list(cl.predict_stream(summing, inputs()))


def test_a_server_that_is_not_there_is_unreachable():
    with (
        clipper.connect(protocol="grpc", grpc_address="127.0.0.1:9") as connection,
        pytest.raises(clipper.Unreachable, match=r"127\.0\.0\.1:9"),
    ):
        connection.predict("app", [1.0])


def test_an_unknown_protocol_is_refused():
    with pytest.raises(clipper.BadRequest, match="'rest' or 'grpc'"):
        clipper.connect(protocol="soap")


async def test_the_awaited_connection_does_the_same(cl, summing):
    async with clipper.connect_async(cl.session.admin_url, protocol="grpc") as connection:
        answers = await asyncio.gather(*(connection.predict(summing, np.array([i, 1.0])) for i in range(50)))
        assert [one.output for one in answers] == [i + 1.0 for i in range(50)]
        streamed = {i: one.output async for i, one in connection.predict_stream(summing, [[1.0], [2.0]])}
        assert streamed == {0: 1.0, 1: 2.0}
        with pytest.raises(clipper.UnknownApplication):
            await connection.predict("nobody", [1.0])


async def test_an_awaited_stream_takes_inputs_as_they_come_and_raises_what_they_raise(cl, summing):
    answered = asyncio.Event()

    async def inputs():
        yield [1.0]
        await answered.wait()
        yield [2.0]
        raise KeyError("no more")

    found = []
    async with clipper.connect_async(cl.session.admin_url) as connection:

        async def collect():
            async for i, one in connection.predict_stream(summing, inputs()):
                found.append((i, one.output))
                answered.set()

        with pytest.raises(KeyError, match="no more"):
            await collect()
    assert found[0] == (0, 1.0)


def test_a_program_that_uses_rest_only_never_imports_grpc():
    code = (
        "import sys, clipper; clipper.connect().close(); import clipper.client.blocking;"
        "print(*({'grpc', 'google.protobuf'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
