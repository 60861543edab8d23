"""Queries over HTTP when something breaks or hangs: given up in time, repeated only where it does no harm."""

import asyncio
import itertools
import socket
import threading
import time

import pytest
from asking import BY_BOTH, FINE, PREDICT, ask
from scripted_server import ANSWER, CLOSE, HANG, http, scripted_server, then

import clipper

DUPLICATE = (http(b'{"error": "It was given already.", "code": "duplicate_feedback"}', "409 Conflict"),)
ACCEPTED = (http(b'{"accepted": 1}'),)


@BY_BOTH
def test_a_prediction_is_repeated_once_where_the_connection_broke_before_the_answer(awaited):
    with scripted_server(then((CLOSE,), FINE)) as server:
        (answer,) = ask(server.url, PREDICT, awaited=awaited)
    assert answer.output == 1
    assert len(server.asked) == 2
    with scripted_server(then((CLOSE,))) as server, pytest.raises(clipper.Unreachable, match="broke"):
        ask(server.url, PREDICT, awaited=awaited)
    assert len(server.asked) == 2


@BY_BOTH
def test_nothing_is_repeated_once_a_byte_of_the_answer_came(awaited):
    with (
        scripted_server(then((http(ANSWER)[:-5], CLOSE))) as server,
        pytest.raises(clipper.Unreachable, match="in the middle of the answer"),
    ):
        ask(server.url, PREDICT, awaited=awaited)
    assert len(server.asked) == 1


@BY_BOTH
@pytest.mark.parametrize("second", [ACCEPTED, DUPLICATE], ids=["not committed", "committed"])
@pytest.mark.parametrize(
    "named", [{"query_id": "q"}, {"input": [1.0], "update_id": "u"}], ids=["query_id", "update_id"]
)
def test_feedback_that_has_a_name_is_repeated_and_counts_once(awaited, second, named):
    with scripted_server(then((CLOSE,), second)) as server:
        assert ask(server.url, ("update", ["a"], {"label": 1, **named}), awaited=awaited) == [1]
    assert len(server.asked) == 2


@BY_BOTH
def test_a_duplicate_that_was_sent_once_is_one(awaited):
    with scripted_server(then(DUPLICATE)) as server, pytest.raises(clipper.DuplicateFeedback):
        ask(server.url, ("update", ["a"], {"label": 1, "query_id": "q"}), awaited=awaited)


@BY_BOTH
@pytest.mark.parametrize(
    "call",
    [("update", ["a"], {"label": 1, "input": [1.0]}), ("update_many", ["a", [{"query_id": "q", "label": 1}]], {})],
    ids=["without a name", "a list"],
)
def test_feedback_that_could_count_twice_is_not_repeated(awaited, call):
    with scripted_server(then((CLOSE,), ACCEPTED)) as server, pytest.raises(clipper.Unreachable, match="broke"):
        ask(server.url, call, awaited=awaited)
    assert len(server.asked) == 1


@BY_BOTH
def test_a_server_that_hangs_is_given_up_in_time(awaited):
    with scripted_server(then((HANG,))) as server, pytest.raises(clipper.Unreachable, match="not answer") as late:
        ask(server.url, PREDICT, awaited=awaited, timeout_s=0.1)
    assert late.value.code == "unreachable"


@BY_BOTH
def test_a_server_that_trickles_does_not_keep_its_caller(awaited):
    """The timeout is for the whole answer, not from byte to byte; without it this would never end."""
    line = (b"X-A: b\r\n", lambda: time.sleep(0.02))
    trickle = itertools.chain((b"HTTP/1.1 200 OK\r\n",), itertools.cycle(line))
    with scripted_server(then(trickle)) as server, pytest.raises(clipper.Unreachable, match="not answer"):
        ask(server.url, PREDICT, awaited=awaited, timeout_s=0.3)


@BY_BOTH
def test_a_late_answer_is_not_the_answer_to_the_next_query(awaited):
    release = threading.Event()
    late = http(ANSWER.replace(b'"output": 1', b'"output": "late"'))
    with scripted_server(lambda asked: (release.wait, late) if b"7.5" in asked.body else FINE) as server:

        async def awaiting():
            async with clipper.connect_async(query_url=server.url, timeout_s=0.1) as cl:
                with pytest.raises(clipper.Unreachable):
                    await cl.predict("a", [7.5])
                release.set()
                cl._pool._timeout_s = 30.0
                return await cl.predict("a", [1.0])

        if awaited:
            assert asyncio.run(awaiting()).output == 1
        else:
            with clipper.connect(query_url=server.url, timeout_s=0.1) as cl:
                with pytest.raises(clipper.Unreachable):
                    cl.predict("a", [7.5])
                release.set()
                cl._pool._timeout_s = 30.0
                assert cl.predict("a", [1.0]).output == 1


async def test_when_no_connection_is_free_in_time_the_error_says_so():
    with scripted_server(then((HANG,))) as server:
        async with clipper.connect_async(query_url=server.url, max_connections=1) as cl:
            first = asyncio.ensure_future(cl.predict("a", [1.0]))
            await asyncio.to_thread(server.received.acquire)
            cl._pool._timeout_s = 0.05
            with pytest.raises(clipper.Unreachable, match=r"All 1 connections to .* were taken"):
                await cl.predict("a", [1.0])
            first.cancel()


async def test_a_query_that_is_cancelled_gives_its_connection_up():
    with scripted_server(then((HANG,))) as server:
        async with clipper.connect_async(query_url=server.url) as cl:
            asking = asyncio.ensure_future(cl.predict("a", [1.0]))
            await asyncio.to_thread(server.received.acquire)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert await asyncio.to_thread(server.gone.acquire, timeout=20)


@BY_BOTH
def test_nothing_listening_is_unreachable(awaited):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(clipper.Unreachable, match=f"Cannot reach {url}: .*refused"):
        ask(url, PREDICT, awaited=awaited)


@BY_BOTH
def test_a_server_that_takes_no_connection_is_given_up_in_time(awaited):
    """A full backlog: the kernel answers no further attempt."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    try:
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(clipper.Unreachable, match="it does not answer"):
            ask(url, PREDICT, awaited=awaited, connect_timeout_s=0.1)
    finally:
        for one in [*waiting, listener]:
            one.close()


@BY_BOTH
def test_what_is_no_http_is_told(awaited):
    with (
        scripted_server(then((b"SSH-2.0-OpenSSH\r\n", CLOSE))) as server,
        pytest.raises(clipper.Unreachable, match="no HTTP"),
    ):
        ask(server.url, PREDICT, awaited=awaited)


@BY_BOTH
def test_an_early_refusal_of_a_large_body_is_read(awaited):
    refusal = http(b'{"error": "Too long.", "code": "too_large"}', "413 Too Large", "Connection: close")

    def serve(listener):
        peer, _ = listener.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(refusal)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 20):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(clipper.ClipperError) as refused:
            ask(
                f"http://127.0.0.1:{listener.getsockname()[1]}",
                ("predict", ["a", "x" * 5_000_000], {}),
                awaited=awaited,
            )
        thread.join()
    assert refused.value.code == "too_large"
